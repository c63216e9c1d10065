//! A page to try the models: it needs nothing from elsewhere, and runs no script but its own.
//!
//! `/docs` itself says nothing of any model, so that a browser, which sends no key by itself, can open it; its script asks
//! `/docs/models` for the forms, with the key that was filled in.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Extensions, HeaderValue};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ropewalk_serving::ModelMetadata;
use ropewalk_types::{ElementType, TensorSpec};

use crate::columns::{holds_one, row_shape};
use crate::openapi::{defaults, example_cell, has_example, segment, size};
use crate::service::Scoring;
use crate::{ScoringError, off_reactor};

/// Models on the page; `/openapi.json` has all.
const MODELS: usize = 100;
/// Fields of one form; a model with more is asked with JSON.
const FIELDS: usize = 500;

/// The page without any model.
pub(crate) async fn answer() -> Result<Response, ScoringError> {
    let nonce = nonce()?;
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    guarded(&page(&nonce), &policy)
}

/// The forms of the models that the caller may ask, as a part of the page.
pub(crate) async fn models(State(scoring): State<Scoring>, extensions: Extensions) -> Result<Response, ScoringError> {
    let _entered = scoring.enter()?;
    let models = defaults(&scoring, &extensions);
    let bytes = models.iter().take(MODELS).map(size).fold(0, usize::saturating_add);
    let made = off_reactor(bytes, move || Ok(forms(&models)));
    guarded(&made.await?, "default-src 'none'; frame-ancestors 'none'")
}

fn guarded(markup: &Markup, policy: &str) -> Result<Response, ScoringError> {
    let mut response = Html(markup.0.clone()).into_response();
    let headers = response.headers_mut();
    let policy = HeaderValue::from_str(policy).map_err(|_| ScoringError::Failed)?;
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Marks the page's own script and style, anew for each answer (Content Security Policy Level 3, section 7.1).
fn nonce() -> Result<String, ScoringError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| ScoringError::Failed)?;
    Ok(STANDARD.encode(bytes))
}

fn page(nonce: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Models of this server" }
                // Browsers would ask for `/favicon.ico`, which there is not.
                link rel="icon" href="data:,";
                style nonce=(nonce) { (PreEscaped(include_str!("docs/page.css"))) }
            }
            body {
                main {
                    h1 { "Models of this server" }
                    p { "Fill in a row and ask. " a href="openapi.json" { "openapi.json" } " describes every request." }
                    form #access .key {
                        label for="key" { "API key, if the server asks for one (it stays on this page)" }
                        input #key type="password" autocomplete="off";
                        button type="submit" { "Show models" }
                    }
                    p #state role="status" { }
                    noscript { p { "This page needs JavaScript." } }
                    div #models {}
                }
                script nonce=(nonce) { (PreEscaped(include_str!("docs/page.js"))) }
            }
        }
    }
}

fn forms(models: &[ModelMetadata]) -> Markup {
    html! {
        @if models.is_empty() { p { "No model is loaded." } }
        @for (place, model) in models.iter().take(MODELS).enumerate() { (section(place, model)) }
        @if models.len() > MODELS {
            p { (models.len() - MODELS) " more models are in openapi.json." }
        }
    }
}

fn section(place: usize, model: &ModelMetadata) -> Markup {
    let inputs = &model.signature.inputs;
    let title = format!("m{place}");
    let has_example = has_example(model);
    html! {
        section aria-labelledby=(title) {
            h2 id=(title) { (model.name) }
            p { "Version " (model.version) ", " (model.engine.to_string()) " engine" }
            @if inputs.is_empty() {
                p { "This model has no inputs: there is nothing to fill in." }
            } @else if inputs.len() > FIELDS {
                p { "This model has " (inputs.len()) " inputs, too many for a form: ask it with JSON." }
            } @else {
                form data-path={ "predict/" (segment(model.name.as_str())) } {
                    @for (input, spec) in inputs.iter().enumerate() { (field(&format!("m{place}i{input}"), spec, has_example)) }
                    button type="submit" { "Ask" }
                }
                h3 { "Answer" }
                pre.answer role="status" aria-live="polite" tabindex="0" aria-label={ "Answer of " (model.name) } {}
                h3 { "The same with curl" }
                pre.curl tabindex="0" aria-label={ "curl line for " (model.name) } {}
            }
            (outputs(model))
        }
    }
}

fn field(id: &str, spec: &TensorSpec, has_example: bool) -> Markup {
    let example = if has_example || holds_one(spec) { example_cell(spec).to_string() } else { String::new() };
    let kind = kind(spec);
    let plain = example.trim_matches('"');
    html! {
        div.field {
            label for=(id) { (spec.name) " " small { (spec.datatype.as_str()) @if kind == "json" { " " (format!("{:?}", row_shape(spec))) } } }
            @match kind {
                "bool" => select id=(id) name=(spec.name) data-kind=(kind) { option { "true" } option { "false" } },
                "json" => textarea id=(id) name=(spec.name) data-kind=(kind) rows="3" spellcheck="false" { (example) },
                "text" => input id=(id) name=(spec.name) data-kind=(kind) value=(plain) autocomplete="off";,
                _ => input id=(id) name=(spec.name) data-kind=(kind) value=(plain) inputmode="decimal" autocomplete="off";,
            }
        }
    }
}

fn kind(spec: &TensorSpec) -> &'static str {
    match spec.datatype {
        _ if !holds_one(spec) => "json",
        ElementType::Bool => "bool",
        ElementType::Bytes => "text",
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64 => "number",
        _ => "integer",
    }
}

fn outputs(model: &ModelMetadata) -> Markup {
    html! {
        details {
            summary { "Outputs" }
            ul { @for spec in &model.signature.outputs { li { (spec.to_string()) } } }
        }
    }
}
