// @ts-check
/** Calls of the admin page to the HTTP API, with its session and CSRF token. */

/** What the server said against a request, in its own words. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 when the server was not reached
   * @param {{code?: string, field?: string, rule?: string, params?: Record<string, string|number>, reason?: string,
   *   remedy?: string, title?: string}} problem
   */
  constructor(status, problem) {
    super(problem.reason ?? problem.title ?? `status ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
    this.field = problem.field ?? "";
    this.reason = problem.reason ?? problem.title ?? "";
    this.remedy = problem.remedy ?? "";
    this.rule = problem.rule ?? "";
    this.params = problem.params ?? {};
  }
}

/** An answer that takes longer does not come. */
const PATIENCE_MS = 15_000;

export class Api {
  /** @param {string} base path prefix of the site */
  constructor(base) {
    this.base = base;
    this.csrf = "";
    /** Called when the session is no longer valid. */
    this.onSignedOut = () => {};
    /** Called when the password has to be given again; says whether it was. @type {() => Promise<boolean>} */
    this.onConfirm = async () => false;
  }

  /**
   * @param {string} method
   * @param {string} path below `/api/`
   * @param {unknown} [body]
   * @param {boolean} [isAgain] whether the password was given for it
   * @returns {Promise<any>}
   */
  async call(method, path, body, isAgain = false) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (method !== "GET") headers["X-CSRF-Token"] = this.csrf;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    let text;
    try {
      response = await fetch(`${this.base}/api/${path}`, {
        method,
        headers,
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE_MS),
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      text = await response.text();
    } catch {
      throw new ApiError(0, { code: "unreachable" });
    }
    const answer = text === "" ? null : parse(text);
    if (response.ok) return answer;
    const error = new ApiError(response.status, answer ?? {});
    if (error.status === 401 && path.startsWith("admin/") && !/^admin\/(login|setup|session)(\/|$)/.test(path)) this.onSignedOut();
    if (error.code === "confirm_required" && !isAgain && (await this.onConfirm())) return this.call(method, path, body, true);
    throw error;
  }

  /** @param {string} path */
  get(path) {
    return this.call("GET", path);
  }
  /** @param {string} path @param {unknown} [body] */
  post(path, body = {}) {
    return this.call("POST", path, body);
  }
  /** @param {string} path @param {unknown} body */
  patch(path, body) {
    return this.call("PATCH", path, body);
  }
  /** @param {string} path @param {unknown} body */
  put(path, body) {
    return this.call("PUT", path, body);
  }
  /** @param {string} path */
  delete(path) {
    return this.call("DELETE", path);
  }
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
