// What Prometheus with its adapter, and metrics-server, would tell the autoscaler: a small metrics API for the control plane that
// `cargo xtask control-plane` starts. The load is what a file says: sockets of all servers together, which are spread evenly
// over those that are ready, and the thousandths of a processor that each server uses.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

type object = map[string]any

type load struct {
	Sockets  int `json:"sockets"`
	CPUMilli int `json:"cpu_milli"`
}

type pod struct {
	Metadata struct {
		Name              string            `json:"name"`
		Namespace         string            `json:"namespace"`
		Labels            map[string]string `json:"labels"`
		DeletionTimestamp string            `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Containers []struct {
			Name string `json:"name"`
		} `json:"containers"`
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

var (
	address = flag.String("listen", "127.0.0.1:8443", "where to listen")
	server  = flag.String("server", "", "URL of the API server")
	token   = flag.String("token-file", "", "file with the token to ask it with")
	file    = flag.String("load", "", "file with the load")
	metric  = flag.String("metric", "ws_active_connections", "name of the metric of sockets")
)

// The server's certificate is its own, made at its start; both are on this machine.
var client = &http.Client{
	Timeout:   5 * time.Second,
	Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
}

func pods(namespace, selector string) ([]pod, error) {
	secret, err := os.ReadFile(*token)
	if err != nil {
		return nil, err
	}
	query := url.Values{"labelSelector": {selector}}.Encode()
	request, err := http.NewRequest("GET", fmt.Sprintf("%s/api/v1/namespaces/%s/pods?%s", *server, namespace, query), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(secret)))
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return nil, fmt.Errorf("%s: %s", answer.Status, text)
	}
	var list struct {
		Items []pod `json:"items"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		return nil, err
	}
	var running []pod
	for _, each := range list.Items {
		if each.Status.Phase == "Running" && each.Metadata.DeletionTimestamp == "" {
			running = append(running, each)
		}
	}
	return running, nil
}

func current() (load, error) {
	var now load
	text, err := os.ReadFile(*file)
	if err != nil {
		return now, err
	}
	return now, json.Unmarshal(text, &now)
}

func resources(group string, resource object) object {
	return object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": []object{resource}}
}

func answer(path, selector string) (object, error) {
	const custom, plain = "custom.metrics.k8s.io/v1beta2", "metrics.k8s.io/v1beta1"
	switch path {
	case "/apis/" + custom:
		return resources(custom, object{"name": "pods/" + *metric, "singularName": "", "namespaced": true, "kind": "MetricValueList", "verbs": []string{"get"}}), nil
	case "/apis/" + plain:
		return resources(plain, object{"name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": []string{"get", "list"}}), nil
	}
	rest, found := strings.CutPrefix(path, "/apis/")
	parts := strings.Split(rest, "/")
	if !found || len(parts) < 5 || parts[2] != "namespaces" || parts[4] != "pods" {
		return nil, nil
	}
	group, namespace := parts[0]+"/"+parts[1], parts[3]
	list, err := pods(namespace, selector)
	if err != nil {
		return nil, err
	}
	now, err := current()
	if err != nil {
		return nil, err
	}
	at := time.Now().UTC().Format(time.RFC3339)
	items := []object{}
	switch {
	case group == custom && len(parts) == 7 && parts[6] == *metric:
		for index, each := range list {
			value := now.Sockets / len(list)
			if index < now.Sockets%len(list) {
				value++
			}
			described := object{"kind": "Pod", "apiVersion": "/v1", "namespace": namespace, "name": each.Metadata.Name}
			items = append(items, object{"describedObject": described, "metric": object{"name": *metric}, "timestamp": at, "value": fmt.Sprint(value)})
		}
		return object{"kind": "MetricValueList", "apiVersion": custom, "metadata": object{}, "items": items}, nil
	case group == plain && len(parts) == 5:
		for _, each := range list {
			containers := []object{}
			for _, container := range each.Spec.Containers {
				usage := object{"cpu": fmt.Sprintf("%dm", now.CPUMilli), "memory": "100Mi"}
				containers = append(containers, object{"name": container.Name, "usage": usage})
			}
			metadata := object{"name": each.Metadata.Name, "namespace": namespace, "labels": each.Metadata.Labels}
			items = append(items, object{"metadata": metadata, "timestamp": at, "window": "10s", "containers": containers})
		}
		return object{"kind": "PodMetricsList", "apiVersion": plain, "metadata": object{}, "items": items}, nil
	}
	return nil, nil
}

func serve(writer http.ResponseWriter, request *http.Request) {
	body, err := answer(strings.TrimSuffix(request.URL.Path, "/"), request.URL.Query().Get("labelSelector"))
	if err != nil {
		log.Print(err)
		http.Error(writer, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if body == nil {
		http.NotFound(writer, request)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(writer).Encode(body); err != nil {
		log.Print(err)
	}
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
	made, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{made}, PrivateKey: key}, err
}

func main() {
	flag.Parse()
	own, err := certificate()
	if err != nil {
		log.Fatal(err)
	}
	listener := &http.Server{Addr: *address, Handler: http.HandlerFunc(serve), ReadHeaderTimeout: 5 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}}}
	log.Fatal(listener.ListenAndServeTLS("", ""))
}
