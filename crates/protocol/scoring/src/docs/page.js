"use strict";
const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
// Numbers stay as they were written: a whole number may be larger than a double can tell.
const isNumber = (text) => /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text);
const cell = (field) => {
  const text = field.value.trim();
  switch (field.dataset.kind) {
    case "text": return JSON.stringify(field.value);
    case "number": return text === "" ? "null" : isNumber(text) ? text : JSON.stringify(text);
    case "integer": return isNumber(text) ? text : JSON.stringify(text);
    case "json": JSON.parse(text); return text;
    default: return text;
  }
};
const key = document.getElementById("key");
const state = document.getElementById("state");
const models = document.getElementById("models");
const headers = () => (key.value === "" ? {} : { "X-Api-Key": key.value });
const prepare = (form) => {
  const section = form.closest("section");
  const answer = section.querySelector(".answer");
  const curl = section.querySelector(".curl");
  const url = new URL(form.dataset.path, document.baseURI);
  const fields = [...form.querySelectorAll("[data-kind]")];
  const body = () => "{" + fields.map((field) => JSON.stringify(field.name) + ": " + cell(field)).join(", ") + "}";
  const show = () => {
    try {
      const named = key.value === "" ? "" : " -H \"X-Api-Key: $KEY\"";
      curl.textContent = `curl -H 'Content-Type: application/json'${named} -d ${quoted(body())} ${quoted(url.href)}`;
    } catch (problem) {
      curl.textContent = String(problem);
    }
  };
  form.addEventListener("input", show);
  key.addEventListener("input", show);
  show();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const asked = body();
      answer.textContent = "…";
      const all = { "Content-Type": "application/json", ...headers() };
      const response = await fetch(url, { method: "POST", headers: all, body: asked });
      const id = response.headers.get("X-Prediction-Id");
      answer.textContent = `${response.status} ${await response.text()}` + (id === null ? "" : `\nprediction ${id}`);
    } catch (problem) {
      answer.textContent = String(problem);
    }
  });
};
let newest = 0;
const load = async () => {
  const mine = ++newest;
  try {
    const response = await fetch(new URL("docs/models", document.baseURI), { headers: headers() });
    const text = await response.text();
    if (mine !== newest) return;
    if (!response.ok) {
      models.replaceChildren();
      const asks = key.value === "" ? "This server asks for an API key: fill it in and show the models." : "The key was refused.";
      state.textContent = response.status === 401 ? asks : `${response.status} ${text}`;
      return;
    }
    state.textContent = "";
    models.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.children);
    models.querySelectorAll("form").forEach(prepare);
  } catch (problem) {
    state.textContent = String(problem);
  }
};
document.getElementById("access").addEventListener("submit", (event) => {
  event.preventDefault();
  load();
});
load();
