// All the script there is. Without it every page is whole: forms are sent, and pages are
// loaded again by hand.
"use strict";

// A form with data-live asks while one types; the answer takes the place of the part that
// the form names.
for (const form of document.querySelectorAll("form[data-live]")) {
  const target = document.getElementById(form.dataset.live);
  const status = document.getElementById(form.dataset.status);
  let timer = 0;
  let asking = null;

  const ask = async () => {
    asking?.abort();
    asking = new AbortController();
    const query = new URLSearchParams(new FormData(form));
    const address = `${form.getAttribute("action")}?${query}`;
    history.replaceState(null, "", address);
    query.set("part", "1");
    try {
      const answer = await fetch(`${form.getAttribute("action")}?${query}`, { signal: asking.signal });
      if (answer.redirected || answer.status === 401) {
        location.reload();
        return;
      }
      target.innerHTML = await answer.text();
      status.textContent = target.firstElementChild?.dataset.summary ?? "";
    } catch (error) {
      if (error.name !== "AbortError") {
        status.textContent = "The control plane does not answer.";
      }
    }
  };

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 250);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    ask();
  });
}

// A part with data-events is told anew by the server whenever it is another one.
for (const part of document.querySelectorAll("[data-events]")) {
  const events = new EventSource(part.dataset.events);
  events.addEventListener("progress", (event) => {
    part.innerHTML = event.data;
  });
  events.addEventListener("end", () => events.close());
}
