//! A host program reduced to its launcher, for the tests and for a look by hand:
//! `app GRACE_MS HOST PORT PROGRAM [ARGUMENT…]` starts the engine and prints each event as a line of JSON, until the engine
//! has ended. Ctrl-C stops it. Like every host it is also the warden.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::env::args;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dualgpuopt_core::command::LaunchSpec;
use dualgpuopt_launch::{LaunchEvent, Launcher, WARDEN_ENTRY, warden_main};

fn main() -> ExitCode {
    let args: Vec<String> = args().skip(1).collect();
    match args.as_slice() {
        [entry] if entry == WARDEN_ENTRY => warden_main(),
        [grace_ms, host, port, program, args @ ..] => {
            let spec = LaunchSpec {
                title: "example".into(),
                program: program.clone(),
                args: args.to_vec(),
                env: Vec::new(),
                host: host.clone(),
                port: port.parse().expect("PORT is a number"),
                health_path: "/health".into(),
            };
            launch(spec, Duration::from_millis(grace_ms.parse().expect("GRACE_MS is a number")))
        }
        _ => {
            println!("app GRACE_MS HOST PORT PROGRAM [ARGUMENT…]");
            ExitCode::FAILURE
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_millis()).expect("for 584 million years")
}

fn print(event: LaunchEvent) {
    match event {
        LaunchEvent::State(view) => println!("{}", serde_json::to_string(&view).expect("plain data")),
        LaunchEvent::Log(batch) => {
            for line in &batch.lines {
                println!("{}", serde_json::to_string(line).expect("plain data"));
            }
        }
    }
}

fn launch(spec: LaunchSpec, grace: Duration) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be made");
    runtime.block_on(async {
        let own = std::env::current_exe().expect("Linux knows our file");
        let launcher = Launcher::new(own, Arc::new(now_ms), Arc::new(print)).with_grace(grace);
        let id = match launcher.start(spec).await {
            Ok(id) => id,
            Err(error) => {
                println!("{error}");
                return ExitCode::FAILURE;
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => launcher.stop_all().await,
            () = ended(&launcher, id) => {}
        }
        ExitCode::SUCCESS
    })
}

async fn ended(launcher: &Launcher, id: dualgpuopt_core::session::SessionId) {
    while launcher.list().iter().any(|view| view.id == id && !view.state.ended()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
