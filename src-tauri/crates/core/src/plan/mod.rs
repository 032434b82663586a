//! From a model and budgets to a placement that the engine will really make.

mod types;

pub use types::{
    CacheLimit, CacheType, ContextWish, DeviceBudget, DevicePlan, Fix, HostPlan, MemoryParts, Plan, PlanRequest, Verdict,
};
