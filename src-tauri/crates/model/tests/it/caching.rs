//! Models read before.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::written::Gguf;
use dualgpuopt_model::ModelCache;

#[test]
fn callers_at_the_same_time_get_one_reading() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    Gguf::llama(1).strings("tokenizer.ggml.tokens", 100_000).save(&path);
    let cache = ModelCache::new();
    let start = Barrier::new(8);
    let found: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    cache.probe(&path).expect("the file is sound")
                })
            })
            .collect();
        asked.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(found.iter().all(|other| Arc::ptr_eq(other, &found[0])));
    assert!(Arc::ptr_eq(&found[0], &cache.clone().probe(&path).expect("it is kept")));
}

#[test]
fn a_changed_file_is_read_again_and_an_error_is_not_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    let cache = ModelCache::new();
    assert!(cache.probe(&path).is_err());
    Gguf::llama(1).text("general.name", "One").save(&path);
    let touch = |seconds| {
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("the file is ours");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).expect("times can be set");
    };
    touch(1_000_000);
    assert_eq!(cache.probe(&path).expect("sound").facts.name, "One");
    // As long as before, written later.
    Gguf::llama(1).text("general.name", "Two").save(&path);
    touch(2_000_000);
    assert_eq!(cache.probe(&path).expect("sound").facts.name, "Two");
}

#[test]
fn every_file_of_a_model_is_watched() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = [1, 2].map(|n| folder.path().join(format!("m-0000{n}-of-00002.gguf")));
    let shard = |n: u16| {
        let model = if n == 0 { Gguf::llama(1) } else { Gguf::default() }.without_tensors();
        let model = model.u16("split.count", 2).u16("split.no", n).u32("split.tensors.count", 2);
        model.tensor(if n == 0 { "token_embd.weight" } else { "blk.0.attn_q.weight" }, 0, &[32, 32], 4096)
    };
    shard(0).save(&paths[0]);
    shard(1).save(&paths[1]);
    let cache = ModelCache::new();
    let before = cache.probe(&paths[0]).expect("sound");
    assert!(Arc::ptr_eq(&before, &cache.probe(&paths[0]).expect("kept")));
    shard(1).text("note", "longer").save(&paths[1]);
    let after = cache.probe(&paths[0]).expect("sound");
    assert!(after.facts.file_bytes > before.facts.file_bytes);
}
