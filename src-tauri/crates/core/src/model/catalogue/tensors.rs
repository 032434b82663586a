//! Names and shapes of a model's tensors, in the order in which llama.cpp's converter writes them.
//!
//! Held against real headers of each family in `tests/catalogue.rs`.

use crate::model::catalogue::shape::{Experts, Family, Latent, ModelShape, RopeTable};

/// Name and shape, innermost first.
pub(super) type Named = (String, Vec<u64>);

pub(super) fn of(shape: &ModelShape) -> Vec<Named> {
    let mut table = vec![("token_embd.weight".to_owned(), vec![shape.embedding, shape.vocab])];
    let half = shape.rope_length() / 2;
    match shape.rope {
        RopeTable::None => {}
        RopeTable::Frequencies => table.push(("rope_freqs.weight".to_owned(), vec![half])),
        RopeTable::Factors { .. } => {
            for length in ["long", "short"] {
                table.push((format!("rope_factors_{length}.weight"), vec![half]));
            }
        }
    }
    for layer in 0..shape.layers {
        let mut block = Block { shape, layer, table: &mut table };
        block.write();
    }
    table.push(("output_norm.weight".to_owned(), vec![shape.embedding]));
    if !shape.tied {
        table.push(("output.weight".to_owned(), vec![shape.embedding, shape.vocab]));
    }
    table
}

/// Writes the tensors of one layer.
struct Block<'a> {
    shape: &'a ModelShape,
    layer: u64,
    table: &'a mut Vec<Named>,
}

impl Block<'_> {
    fn put(&mut self, name: &str, dims: &[u64]) {
        self.table.push((format!("blk.{}.{name}", self.layer), dims.to_vec()));
    }

    fn norms(&mut self, names: &[&str]) {
        for name in names {
            self.put(&format!("{name}.weight"), &[self.shape.embedding]);
        }
    }

    fn write(&mut self) {
        match self.shape.family {
            Family::Llama | Family::Mistral3 | Family::Granite | Family::SmolLm3 => self.plain(false, false),
            Family::Qwen2 => self.plain(true, false),
            Family::Qwen3 | Family::Qwen3Moe => self.plain(false, true),
            Family::CommandR | Family::Cohere2 => {
                self.norms(&["attn_norm"]);
                self.attention(false);
                self.feed_forward();
            }
            Family::SeedOss => {
                self.attention(true);
                self.norms(&["attn_norm", "post_attention_norm"]);
                self.up_before_down();
            }
            Family::Gemma2 | Family::Gemma3 => self.gemma(),
            Family::Phi3 => self.phi(),
            Family::Glm4 => self.glm(),
            Family::Olmo2 => self.olmo(),
            Family::DeepSeek2 => self.deepseek(),
            Family::GptOss => self.gpt_oss(),
        }
    }

    /// Q, K, V and the way back.
    fn attention(&mut self, bias: bool) {
        let (width, q, kv) = self.widths();
        self.put("attn_q.weight", &[width, q]);
        self.put("attn_k.weight", &[width, kv]);
        self.put("attn_v.weight", &[width, kv]);
        if bias {
            self.put("attn_q.bias", &[q]);
            self.put("attn_k.bias", &[kv]);
            self.put("attn_v.bias", &[kv]);
        }
        self.put("attn_output.weight", &[q, width]);
    }

    /// Widths of the stream, of all Q heads, of all K heads.
    fn widths(&self) -> (u64, u64, u64) {
        let shape = self.shape;
        (shape.embedding, shape.heads * shape.head_length, shape.heads_kv * shape.head_length)
    }

    fn head_norms(&mut self) {
        self.put("attn_k_norm.weight", &[self.shape.head_length]);
        self.put("attn_q_norm.weight", &[self.shape.head_length]);
    }

    fn plain(&mut self, bias: bool, head_norms: bool) {
        self.norms(&["attn_norm"]);
        self.attention(bias);
        if head_norms {
            self.head_norms();
        }
        self.norms(&["ffn_norm"]);
        match self.shape.experts {
            Some(experts) => self.experts(&experts),
            None => self.feed_forward(),
        }
    }

    fn feed_forward(&mut self) {
        let (width, inner) = (self.shape.embedding, self.shape.feed_forward);
        self.put("ffn_gate.weight", &[width, inner]);
        self.put("ffn_down.weight", &[inner, width]);
        self.put("ffn_up.weight", &[width, inner]);
    }

    fn up_before_down(&mut self) {
        let (width, inner) = (self.shape.embedding, self.shape.feed_forward);
        self.put("ffn_gate.weight", &[width, inner]);
        self.put("ffn_up.weight", &[width, inner]);
        self.put("ffn_down.weight", &[inner, width]);
    }

    fn experts(&mut self, experts: &Experts) {
        let (width, inner, count) = (self.shape.embedding, experts.feed_forward, experts.count);
        self.put("ffn_gate_inp.weight", &[width, count]);
        self.put("ffn_gate_exps.weight", &[width, inner, count]);
        self.put("ffn_down_exps.weight", &[inner, width, count]);
        self.put("ffn_up_exps.weight", &[width, inner, count]);
    }

    fn gemma(&mut self) {
        self.norms(&["attn_norm"]);
        self.attention(false);
        self.norms(&["post_attention_norm"]);
        if self.shape.family == Family::Gemma3 {
            self.head_norms();
        }
        self.norms(&["ffn_norm"]);
        self.up_before_down();
        self.norms(&["post_ffw_norm"]);
    }

    fn phi(&mut self) {
        let (width, q, kv) = self.widths();
        self.norms(&["attn_norm"]);
        self.put("attn_qkv.weight", &[width, q + 2 * kv]);
        self.put("attn_output.weight", &[q, width]);
        self.norms(&["ffn_norm"]);
        self.joined_up();
    }

    /// Gate and up in one weight.
    fn joined_up(&mut self) {
        let (width, inner) = (self.shape.embedding, self.shape.feed_forward);
        self.put("ffn_down.weight", &[inner, width]);
        self.put("ffn_up.weight", &[width, 2 * inner]);
    }

    fn glm(&mut self) {
        self.norms(&["attn_norm"]);
        self.attention(false);
        self.norms(&["post_attention_norm", "ffn_norm"]);
        self.joined_up();
        self.norms(&["post_ffw_norm"]);
    }

    fn olmo(&mut self) {
        let (_, q, kv) = self.widths();
        self.attention(false);
        self.put("attn_q_norm.weight", &[q]);
        self.put("attn_k_norm.weight", &[kv]);
        self.norms(&["post_attention_norm"]);
        self.up_before_down();
        self.norms(&["post_ffw_norm"]);
    }

    fn deepseek(&mut self) {
        if let Some(latent) = self.shape.latent {
            self.latent(&latent);
        }
        self.norms(&["ffn_norm"]);
        let Some(experts) = self.shape.experts.filter(|experts| self.layer >= experts.dense_layers) else {
            self.feed_forward();
            return;
        };
        let (width, inner, count) = (self.shape.embedding, experts.feed_forward, experts.count);
        self.put("ffn_gate_inp.weight", &[width, count]);
        self.put("ffn_down_exps.weight", &[inner, width, count]);
        self.put("ffn_gate_exps.weight", &[width, inner, count]);
        self.put("ffn_up_exps.weight", &[width, inner, count]);
        if experts.shared > 0 {
            let inner = inner * experts.shared;
            self.put("ffn_gate_shexp.weight", &[width, inner]);
            self.put("ffn_down_shexp.weight", &[inner, width]);
            self.put("ffn_up_shexp.weight", &[width, inner]);
        }
    }

    fn latent(&mut self, latent: &Latent) {
        let (width, heads) = (self.shape.embedding, self.shape.heads);
        let q = heads * (latent.nope + latent.rope);
        self.norms(&["attn_norm"]);
        if latent.q_rank > 0 {
            self.put("attn_q_a_norm.weight", &[latent.q_rank]);
        }
        self.put("attn_kv_a_norm.weight", &[latent.kv_rank]);
        if latent.q_rank > 0 {
            self.put("attn_q_a.weight", &[width, latent.q_rank]);
            self.put("attn_q_b.weight", &[latent.q_rank, q]);
        } else {
            self.put("attn_q.weight", &[width, q]);
        }
        self.put("attn_kv_a_mqa.weight", &[width, latent.kv_rank + latent.rope]);
        self.put("attn_k_b.weight", &[latent.nope, latent.kv_rank, heads]);
        self.put("attn_v_b.weight", &[latent.kv_rank, latent.value, heads]);
        self.put("attn_output.weight", &[heads * latent.value, width]);
    }

    fn gpt_oss(&mut self) {
        let (width, heads) = (self.shape.embedding, self.shape.heads);
        self.norms(&["attn_norm", "post_attention_norm"]);
        self.attention(true);
        self.put("attn_sinks.weight", &[heads]);
        let Some(experts) = self.shape.experts else { return };
        self.experts(&experts);
        let (inner, count) = (experts.feed_forward, experts.count);
        self.put("attn_output.bias", &[width]);
        self.put("ffn_gate_inp.bias", &[count]);
        self.put("ffn_gate_exps.bias", &[inner, count]);
        self.put("ffn_down_exps.bias", &[width, count]);
        self.put("ffn_up_exps.bias", &[inner, count]);
    }
}
