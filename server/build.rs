//! Builds again when a file of the front-end appears or goes: the embedding macro sees only changes of files it knows.

fn main() {
    for folder in ["components", "lib", "messages", "pages", "styles"] {
        println!("cargo::rerun-if-changed=../overlay/{folder}");
    }
}
