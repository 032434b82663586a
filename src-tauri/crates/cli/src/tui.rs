//! The terminal dashboard: every GPU with its memory, load, heat and power, once a sample.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use dualgpuopt_app::App;
use dualgpuopt_app::api::{Overview, SourceChoice};
use dualgpuopt_core::gpu::{Frame, GpuFacts, GpuSample, Metric, SourceHealth, SourceKind, throttle_text};
use dualgpuopt_core::reading::Reading;
use ratatui::Frame as Canvas;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Gauge, Paragraph, Wrap};

use crate::args::{Args, StatusArgs};
use crate::exit::Failure;
use crate::host::Host;
use crate::{output, status};

/// Longest wait between two looks at the keyboard.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// Time between two looks at whether the terminal is still there.
const TERMINAL_LOOK: Duration = Duration::from_secs(1);
/// Rows that a GPU takes: border, memory, figures, border.
const GPU_ROWS: u16 = 5;
/// What can be done without a GPU source.
const OFFER: &str = "Press s to go on with simulated GPUs.";
/// Colours of the GPUs in order: the first four hues of the design's palette.
const GPU_COLOURS: [Color; 4] = [
    Color::Rgb(0x85, 0x94, 0xF7),
    Color::Rgb(0x38, 0xD6, 0xB1),
    Color::Rgb(0xBC, 0x7B, 0xB0),
    Color::Rgb(0xA6, 0xD3, 0xF2),
];

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if !std::io::stdout().is_terminal() {
        output::progress("The output is no terminal; this is one sample. `dualgpuopt status --watch` goes on.");
        return status::run(args, &StatusArgs { watch: false, json: false });
    }
    let host = Host::start(args, None)?;
    end_with_the_terminal()?;
    let mut terminal = ratatui::try_init()?;
    let ended = watch(&host, &mut terminal);
    ratatui::restore();
    host.shut_down();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Ends the program when its terminal is gone. Crossterm reads a hung-up terminal for ever without returning
///, so nothing on the drawing thread could notice.
fn end_with_the_terminal() -> std::io::Result<()> {
    let wait = || -> () {
        while std::io::stdin().is_terminal() {
            std::thread::sleep(TERMINAL_LOOK);
        }
        std::process::exit(i32::from(crate::exit::FAILED));
    };
    std::thread::Builder::new().name("terminal".to_owned()).spawn(wait).map(drop)
}

fn watch(host: &Host, terminal: &mut ratatui::DefaultTerminal) -> Result<(), Failure> {
    let mut events = host.app.events();
    let mut changed = true;
    loop {
        if events.drain() || changed {
            let now = host.runtime.block_on(host.app.overview())?;
            terminal.draw(|canvas| draw(canvas, &now))?;
        }
        changed = event::poll(KEY_WAIT)?;
        if !changed {
            continue;
        }
        if let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Char('s') => choose(host, &host.app, SourceChoice::Simulated { cards: vec![] })?,
                KeyCode::Char('r') => choose(host, &host.app, SourceChoice::Nvml)?,
                _ => {}
            }
        }
    }
}

fn choose(host: &Host, app: &App, choice: SourceChoice) -> Result<(), Failure> {
    host.runtime.block_on(app.select_source(choice))?;
    Ok(())
}

fn draw(canvas: &mut Canvas<'_>, now: &Overview) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(canvas.area());
    canvas.render_widget(Line::from(heading(now)).style(Style::new().add_modifier(Modifier::BOLD)), head);
    canvas.render_widget(Line::from("q quit   s simulated GPUs   r read the driver again").style(dim()), foot);
    match (&now.health, &now.machine, &now.frame) {
        (SourceHealth::Absent { message, looked_for }, _, _) => {
            let mut lines = vec![Line::from(message.clone()), Line::default()];
            lines.extend(looked_for.iter().map(|line| Line::from(line.clone()).style(dim())));
            lines.extend([Line::default(), Line::from(OFFER)]);
            canvas.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), body);
        }
        (SourceHealth::Failed { message }, ..) => {
            let lines = vec![Line::from(message.clone()), Line::default(), Line::from(OFFER)];
            canvas.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), body);
        }
        (_, Some(machine), _) if machine.gpus.is_empty() => {
            let lines = vec![Line::from(dualgpuopt_app::NO_GPUS), Line::default(), Line::from(OFFER)];
            canvas.render_widget(Paragraph::new(lines), body);
        }
        (_, Some(machine), Some(frame)) => {
            let shown = usize::from(body.height.saturating_sub(1) / GPU_ROWS).min(machine.gpus.len());
            let rows = machine.gpus.iter().take(shown).map(|_| Constraint::Length(GPU_ROWS));
            let areas = Layout::vertical(rows.chain([Constraint::Min(0)])).split(body);
            let hidden = machine.gpus.len() - shown;
            if hidden > 0 {
                canvas.render_widget(Line::from(format!("{hidden} more; enlarge the terminal.")), areas[shown]);
            }
            for (facts, area) in machine.gpus.iter().zip(areas.iter().take(shown)) {
                if let Some(sample) = frame.sample(&facts.id) {
                    gpu(canvas, *area, facts, sample, frame);
                }
            }
        }
        _ => canvas.render_widget(Line::from("Reading the GPUs."), body),
    }
}

fn heading(now: &Overview) -> String {
    let state = match &now.health {
        SourceHealth::Starting => "starting".to_owned(),
        SourceHealth::Live => "live".to_owned(),
        SourceHealth::Absent { .. } => "no GPU source".to_owned(),
        SourceHealth::Recovering { message, attempt, attempts_max } => {
            format!("{message} Attempt {attempt} of {attempts_max}.")
        }
        SourceHealth::Failed { message } => message.clone(),
    };
    let source = match now.machine.as_ref().map(|machine| machine.source) {
        Some(SourceKind::Simulated) => "Simulated GPUs, nothing here is measured",
        Some(SourceKind::Nvml) => "NVML",
        None => "",
    };
    format!("DualGPUOptimizer {}   {source}   {state}", now.version)
}

fn gpu(canvas: &mut Canvas<'_>, area: Rect, facts: &GpuFacts, sample: &GpuSample, frame: &Frame) {
    let place = usize::try_from(facts.index).unwrap_or_default();
    let colour = GPU_COLOURS[place % GPU_COLOURS.len()];
    let title = Line::from(vec![
        Span::styled(format!(" {} ", facts.index), Style::new().bg(colour).fg(Color::Black)),
        Span::raw(format!(" {} ", facts.name)),
    ]);
    let block = Block::bordered().title(title).border_style(dim());
    let inner = block.inner(area);
    canvas.render_widget(block, area);
    if let Some(why) = sample.silent() {
        let age = sample.answered_at.map(|at| format!(", last answer {} s ago", at.age_ms(frame.at) / 1000));
        canvas.render_widget(Line::from(format!("{}{}", why.words(), age.unwrap_or_default())), inner);
        return;
    }
    let [bar, figures, clocks] = Layout::vertical([Constraint::Length(1); 3]).areas(inner);
    memory(canvas, bar, colour, sample);
    let words = [
        ("load", figure(sample, Metric::GpuUtilization, "%")),
        ("temperature", figure(sample, Metric::Temperature, "°C")),
        ("power", figure(sample, Metric::Power, "W")),
        ("limit", figure(sample, Metric::PowerLimit, "W")),
        ("fan", figure(sample, Metric::Fan, "%")),
    ];
    canvas.render_widget(pairs(&words), figures);
    let words = [
        ("core clock", figure(sample, Metric::SmClock, "MHz")),
        ("memory clock", figure(sample, Metric::MemoryClock, "MHz")),
        ("held by", throttle_text(sample.get(Metric::ThrottleReasons))),
    ];
    canvas.render_widget(pairs(&words), clocks);
}

fn memory(canvas: &mut Canvas<'_>, area: Rect, colour: Color, sample: &GpuSample) {
    let (used, total) = (sample.get(Metric::MemoryUsed), sample.get(Metric::MemoryTotal));
    match (used, total) {
        (Reading::Value(used), Reading::Value(total)) if total > 0.0 => {
            let gib = 1_073_741_824.0;
            let share = (used / total).clamp(0.0, 1.0);
            let label = format!("{:.2} of {:.2} GiB  {:.0} %", used / gib, total / gib, share * 100.0);
            let gauge = Gauge::default().ratio(share).label(label).gauge_style(Style::new().fg(colour));
            canvas.render_widget(gauge.use_unicode(true), area);
        }
        (Reading::Missing(why), _) | (_, Reading::Missing(why)) => {
            canvas.render_widget(Line::from(format!("memory: {}", why.words())), area);
        }
        _ => canvas.render_widget(Line::from("memory: the card reports none"), area),
    }
}

fn figure(sample: &GpuSample, metric: Metric, unit: &str) -> String {
    match sample.get(metric) {
        Reading::Value(value) => format!("{value:.0} {unit}"),
        Reading::Missing(why) => why.words().to_owned(),
    }
}

fn pairs(words: &[(&str, String)]) -> Line<'static> {
    let mut spans = Vec::new();
    for (name, value) in words {
        spans.push(Span::styled(format!("{name} "), dim()));
        spans.push(Span::raw(format!("{value:<9} ")));
    }
    Line::from(spans)
}

fn dim() -> Style {
    Style::new().fg(Color::DarkGray)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn drawn(health: serde_json::Value) -> String {
        let gpu = |index: u32, name: &str| json!({ "id": format!("GPU-{index}"), "index": index, "name": name });
        let figures = json!({
            "memory_used_bytes": { "value": 12_884_901_888_u64 }, "memory_total_bytes": { "value": 25_769_803_776_u64 },
            "gpu_utilization_percent": { "value": 97 }, "temperature_c": { "value": 64 }, "power_w": { "value": 247.4 },
            "power_limit_w": { "value": 350 }, "fan_percent": { "missing": "not_supported" },
            "throttle_reasons_mask": { "value": 4 },
        });
        let now = json!({
            "version": "0.0.0", "choice": { "kind": "nvml" }, "health": health, "interval_ms": 1000, "sessions": [],
            "engine": { "set_by_user": false }, "recent_models": [],
            "machine": { "source": "nvml", "gpus": [gpu(0, "RTX 3090"), gpu(1, "RTX 3060")] },
            "frame": { "seq": 1, "at": { "mono_ms": 20_000, "wall_ms": 0 }, "problems": [], "gpus": [
                { "gpu": "GPU-0", "metrics": figures },
                { "gpu": "GPU-1", "metrics": { "power_w": { "missing": "timed_out" } },
                  "answered_at": { "mono_ms": 8_000, "wall_ms": 0 } },
            ] },
        });
        let now: Overview = serde_json::from_value(now).expect("an overview");
        let mut terminal = Terminal::new(TestBackend::new(92, 13)).expect("a terminal of cells");
        terminal.draw(|canvas| draw(canvas, &now)).expect("cells can be written");
        terminal.backend().to_string()
    }

    #[test]
    fn a_card_that_answers_and_one_that_does_not() {
        insta::assert_snapshot!(drawn(json!({ "state": "live" })));
    }

    #[test]
    fn no_driver_says_what_was_looked_for() {
        let health = json!({ "state": "absent", "message": "No NVML here.", "looked_for": ["libnvidia-ml.so.1: no"] });
        insta::assert_snapshot!(drawn(health));
    }
}
