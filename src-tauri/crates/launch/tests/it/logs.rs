//! Logs that are too fast, too long, or no text.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dualgpuopt_core::command::EnvVar;
use dualgpuopt_core::session::{LogLine, LogStream};
use dualgpuopt_launch::log::LOG_LINE_BYTES_MAX;
use dualgpuopt_launch::{LOG_BATCH_LINES_MAX, LaunchEvent, Sink};

use crate::rig::{Rig, child, launcher, parent, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_lines_a_second_arrive_whole_and_do_not_slow_the_engine() {
    let rig = Rig::new(Duration::from_secs(20));
    let id = rig.launcher.start(child(&["flood", "10000", "2"])).await.expect("it can start");
    rig.until_ended(id).await;
    let lines = rig.lines();
    assert!(lines.iter().map(|line| line.seq).eq(0..lines.len() as u64), "a number is missing");
    let flood = lines.iter().filter(|line| line.stream == LogStream::Err && line.text.starts_with("line ")).count();
    assert_eq!(flood, 20_000);
    let took: u64 = rig.until_said("took ").await.trim_end_matches(" ms").parse().expect("a number");
    assert!(took < 4_000, "two seconds of flood took {took} ms");
    for event in rig.events() {
        if let LaunchEvent::Log(batch) = event {
            assert!(batch.lines.len() <= LOG_BATCH_LINES_MAX && batch.dropped == 0);
        }
    }
}

/// Opens once; until then whoever comes waits.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn pass(&self) {
        let open = self.0.lock().expect("nobody panics while holding it");
        drop(self.1.wait_while(open, |open| !*open).expect("nobody panics while holding it"));
    }

    fn open(&self) {
        *self.0.lock().expect("nobody panics while holding it") = true;
        self.1.notify_all();
    }
}

/// Opens the gate at the end of the test, also of one that fails: a launcher that waits for ever would hide why.
struct OpenAtLast(Arc<Gate>);

impl Drop for OpenAtLast {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Greatest memory that a process ever had, bytes.
fn memory_peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_app_does_not_listen_the_engine_runs_on_memory_is_bounded_and_losses_are_counted() {
    const LINES: u64 = 300_000;
    let gate = Arc::new(Gate::default());
    let told: Arc<Mutex<Vec<LogLine>>> = Arc::default();
    let sink: Sink = {
        let (gate, told) = (Arc::clone(&gate), Arc::clone(&told));
        Arc::new(move |event| {
            if let LaunchEvent::Log(batch) = event {
                tokio::task::block_in_place(|| gate.pass());
                told.lock().expect("nobody panics while holding it").extend(batch.lines);
            }
        })
    };
    let launcher = launcher(Duration::from_secs(20), sink);
    let _open_at_last = OpenAtLast(Arc::clone(&gate));
    let sign = tempfile::NamedTempFile::new().expect("a temporary file").into_temp_path();
    let path = sign.display().to_string();
    let id = launcher.start(child(&["burst", &LINES.to_string(), &path])).await.expect("it can start");
    let pid = until("the engine runs", || launcher.list()[0].pid).await;
    until("the engine has written everything", || (!sign.exists()).then_some(())).await;
    let peak = memory_peak(parent(pid));
    gate.open();
    launcher.stop(id, true).expect("it is there");
    until("the session ends", || launcher.list()[0].state.ended().then_some(())).await;

    assert!(peak < 64 * 1024 * 1024, "the warden took {peak} bytes");
    let told = told.lock().expect("nobody panics while holding it");
    let flood: Vec<&LogLine> = told.iter().filter(|line| line.stream == LogStream::Out).collect();
    let dropped = launcher.log(id, 0, 0).expect("it is there").dropped;
    assert!(dropped > 0);
    assert_eq!(flood.len() as u64 + dropped, LINES);
    assert!(told.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let gaps: u64 = told.windows(2).map(|pair| pair[1].seq - pair[0].seq - 1).sum();
    assert_eq!(gaps, dropped);
    let last = flood.last().expect("some arrived");
    assert!(last.text.starts_with(&format!("line {} ", LINES - 1)), "the newest line is lost: {}", last.text);
}

#[tokio::test]
async fn garbage_becomes_text() {
    let rig = Rig::new(Duration::from_secs(20));
    let id = rig.launcher.start(child(&["garbage"])).await.expect("it can start");
    rig.until_ended(id).await;
    let lines: Vec<LogLine> = rig.lines().into_iter().filter(|line| line.stream == LogStream::Out).collect();
    assert!(lines[0].truncated && lines[0].text.len() == LOG_LINE_BYTES_MAX);
    let texts: Vec<&str> = lines[1..].iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["\u{fffd}\u{fffd}error", "100%", "", "no newline \u{e9}"]);
    assert!(lines[1..].iter().all(|line| !line.truncated));
}

#[tokio::test]
async fn variables_arrive_on_top_of_the_inherited_ones() {
    let mut spec = child(&["environment"]);
    let var = |name: &str, value: &str| EnvVar { name: name.into(), value: value.into() };
    spec.env = vec![var("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), var("WEIRD", "a=b\n$(id) \u{e9}"), var("HOME", "/changed")];
    let rig = Rig::new(Duration::from_secs(20));
    let id = rig.launcher.start(spec).await.expect("it can start");
    rig.until_ended(id).await;
    let texts: Vec<String> = rig.lines().into_iter().map(|line| line.text).collect();
    let has = |wanted: &str| texts.iter().any(|text| text.starts_with(wanted));
    for wanted in ["CUDA_DEVICE_ORDER=\"PCI_BUS_ID\"", "WEIRD=\"a=b\\n$(id) \u{e9}\"", "HOME=\"/changed\"", "PATH=\""] {
        assert!(has(wanted), "{wanted} is not in {texts:?}");
    }
    assert!(has("DUALGPUOPT_TREE="));
}

#[tokio::test]
async fn arguments_arrive_byte_for_byte() {
    let weird = [
        "",
        " ",
        "; rm -rf ~",
        "$(id)",
        "`id`",
        "a\nb",
        "-leading",
        "--",
        "%PATH%",
        "& calc",
        "it's \"quoted\"",
        "\\",
        "*",
        "\u{1f600}\u{202e}",
        "\u{1b}[31m",
        "{port",
        "=",
        "~",
        "!history",
        "a\tb\r",
    ];
    let rig = Rig::new(Duration::from_secs(20));
    let mut args = vec!["argv"];
    args.extend(weird);
    let id = rig.launcher.start(child(&args)).await.expect("it can start");
    rig.until_ended(id).await;
    let got: Vec<String> =
        rig.lines().into_iter().filter_map(|line| line.text.strip_prefix("arg:").map(str::to_owned)).collect();
    let want: Vec<String> =
        weird.iter().map(|arg| arg.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()).collect();
    assert_eq!(got, want);
}
