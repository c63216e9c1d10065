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
for (const form of document.querySelectorAll("form")) {
  const section = form.closest("section");
  const answer = section.querySelector(".answer");
  const curl = section.querySelector(".curl");
  const url = new URL(form.dataset.path, document.baseURI);
  const fields = [...form.querySelectorAll("[data-kind]")];
  const body = () => "{" + fields.map((field) => JSON.stringify(field.name) + ": " + cell(field)).join(", ") + "}";
  const show = () => {
    try {
      const key = document.getElementById("key").value === "" ? "" : " -H \"X-Api-Key: $KEY\"";
      curl.textContent = `curl -H 'Content-Type: application/json'${key} -d ${quoted(body())} ${quoted(url.href)}`;
    } catch (problem) {
      curl.textContent = String(problem);
    }
  };
  form.addEventListener("input", show);
  document.getElementById("key").addEventListener("input", show);
  show();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const headers = { "Content-Type": "application/json" };
      const key = document.getElementById("key").value;
      if (key !== "") headers["X-Api-Key"] = key;
      answer.textContent = "…";
      const response = await fetch(url, { method: "POST", headers, body: body() });
      const id = response.headers.get("X-Prediction-Id");
      answer.textContent = `${response.status} ${await response.text()}` + (id === null ? "" : `\nprediction ${id}`);
    } catch (problem) {
      answer.textContent = String(problem);
    }
  });
}
