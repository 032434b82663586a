//! The TypeScript bindings are what the Rust types say.

use std::fs;

use dualgpuopt_test_support::places;

#[test]
fn bindings_are_fresh() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let fresh = folder.path().join("bindings.ts");
    dualgpuopt_desktop::export(&fresh).expect("every type has a TypeScript form");
    let fresh = fs::read_to_string(fresh).expect("just written");
    let kept = places::root().join("ui/src/ipc/bindings.ts");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&kept, &fresh).expect("the repository can be written");
    }
    let kept = fs::read_to_string(kept).expect("the bindings are kept in the repository");
    assert!(kept == fresh, "ui/src/ipc/bindings.ts is stale; `make bindings` writes it anew");
}
