//! Real headers of published models: read without a doubt, and as their list says.

use std::fs::{self, OpenOptions};
use std::path::Path;

use dualgpuopt_model::probe;

#[test]
fn every_published_header_is_read_without_a_doubt() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/ground-truth");
    let list = fs::read_to_string(fixtures.join("models.csv")).expect("the list is there");
    let folder = tempfile::tempdir().expect("a folder for copies");
    let mut seen = 0;
    for line in list.lines().skip(1) {
        let [name, arch, full_size, layers, tensors, file_type, ..] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let head = fixtures.join("heads").join(format!("{name}.gguf"));
        let path = folder.path().join(format!("{name}.gguf"));
        fs::copy(head, &path).expect("the head can be copied");
        let file = OpenOptions::new().write(true).open(&path).expect("the copy is ours");
        file.set_len(full_size.parse().expect("a size")).expect("the copy can be extended");
        let found = probe(&path).unwrap_or_else(|error| panic!("{error}"));
        let facts = &found.facts;
        assert_eq!(found.doubts, Vec::<String>::new(), "{name}");
        assert_eq!((facts.name.as_str(), facts.arch.as_str()), (name, arch));
        assert_eq!(
            (facts.layers.len().to_string(), facts.tensors.len().to_string()),
            (layers.to_owned(), tensors.to_owned())
        );
        assert_eq!(
            (facts.quant.to_lowercase().as_str(), facts.file_bytes.0.to_string().as_str()),
            (file_type, full_size)
        );
        seen += 1;
    }
    let heads = fs::read_dir(fixtures.join("heads")).expect("the heads are there").count();
    assert!(seen == heads && seen >= 10, "{seen} of {heads} heads are on the list");
}
