//! Every byte of a plan: the engine's parts by their formulas, and what is counted beside them.

use serde::{Deserialize, Serialize};

use crate::engine::llama_cpp::explain::{Line, Part, explain as explain_engine};
use crate::engine::llama_cpp::layout::layout;
use crate::model::ModelFacts;
use crate::plan::Plan;
use crate::plan::arrangement::Arrangement;
use crate::plan::error::PlanError;
use crate::plan::solve::choice;
use crate::units::Bytes;

/// A plan, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Parts that are not empty; `device` is the position in [`Plan::devices`]. GPUs in order, then the host.
    pub lines: Vec<Line>,
}

/// Explains a plan of this model.
///
/// # Errors
/// Those of planning; a plan that was made for this model has none.
pub fn explain(model: &ModelFacts, plan: &Plan) -> Result<Explanation, PlanError> {
    let request = &plan.request;
    let arrangement = Arrangement::of(plan);
    let positions = &arrangement.order;
    let largest = if request.ram.is_some() { plan.context } else { plan.context_limit };
    let flags = arrangement.flags(request, choice(request, largest));
    let engine = explain_engine(model, &flags, &layout(model, &flags)?)?;

    let mut lines = Vec::new();
    for (position, device) in plan.devices.iter().enumerate() {
        let here = |line: &&Line| line.device.is_some_and(|used| positions[used] == position);
        lines.extend(engine.iter().filter(here).map(|line| Line { device: Some(position), ..line.clone() }));
        let memory = &device.memory;
        for (part, bytes, words) in [
            (
                Part::DriverContext,
                memory.driver_context,
                format!("CUDA context, modules and pools of the engine's process: {}", device.driver_context.words()),
            ),
            (
                Part::Others,
                memory.others,
                "Held now by other processes, the driver and firmware: all less what is free".to_owned(),
            ),
            (Part::Reserve, memory.reserve, "Kept free on purpose".to_owned()),
        ] {
            if bytes > Bytes::ZERO {
                lines.push(Line::whole(Some(position), part, bytes, words));
            }
        }
    }
    lines.extend(engine.into_iter().filter(|line| line.device.is_none()));
    Ok(Explanation { lines })
}
