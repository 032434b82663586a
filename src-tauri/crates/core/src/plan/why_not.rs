//! Why another way to share the model is not the plan.

use crate::engine::llama_cpp::prepared::Prepared;
use crate::model::ModelFacts;
use crate::plan::arrangement::Arrangement;
use crate::plan::certificate::rejected;
use crate::plan::error::PlanError;
use crate::plan::ground::Ground;
use crate::plan::request::problems;
use crate::plan::solve::solve;
use crate::plan::{PlanMode, PlanRequest, Rejected};

/// A way to share a model that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherWay {
    /// By layers or by tensors.
    pub mode: PlanMode,
    /// As [`PlanRequest::split`].
    pub split: Vec<u32>,
    /// As [`PlanRequest::order`].
    pub order: Option<Vec<u32>>,
    /// First layers whose experts stay in system RAM.
    pub experts_in_ram: u32,
}

/// Why a way is not the plan of this request: what it lacks, or what it costs.
///
/// # Errors
/// Those of planning, for the request and for the other way.
pub fn why_not(model: &ModelFacts, request: &PlanRequest, other: &OtherWay) -> Result<Rejected, PlanError> {
    let pinned = PlanRequest {
        mode: Some(other.mode),
        split: Some(other.split.clone()),
        order: other.order.clone(),
        experts_in_ram: (other.experts_in_ram > 0).then_some(other.experts_in_ram),
        ..request.clone()
    };
    let problems = [problems(model, request), problems(model, &pinned)].concat();
    if !problems.is_empty() {
        return Err(PlanError::Request(problems));
    }
    let prepared = Prepared::new(model)?;
    let ground = Ground::new(&prepared, request)?;
    let solved = solve(&ground)?;
    let arrangement = Arrangement::pinned(&pinned, ground.units()).expect("a split was given above");
    if arrangement == solved.decision.arrangement {
        let what = arrangement.words(request);
        let decode = solved.decision.speed.map(|speed| speed.decode.value);
        return Ok(Rejected { what, why: "It is the plan.".to_owned(), decode });
    }
    rejected(&ground, solved.choice, &solved.decision, &arrangement)
}
