// All the script there is. Without it every page is whole: forms are sent, and pages are
// loaded again by hand.
"use strict";

// Longest wait between two tries, in milliseconds.
const LONGEST = 60_000;

// Puts another content into a part; who is at something in it, or has opened it, stays there.
const renew = (part, content) => {
  const made = document.createElement("div");
  made.innerHTML = content;
  if (made.innerHTML === part.innerHTML) {
    return;
  }
  const name = (it) => it.getAttribute("href") ?? it.getAttribute("aria-label") ?? it.parentElement.id;
  const at = part.contains(document.activeElement) ? name(document.activeElement) : null;
  const left = new Map([...part.querySelectorAll(".table")].map((it) => [name(it), it.scrollLeft]));
  const opened = [...part.querySelectorAll("details[open][id]")].map((it) => it.id);
  part.replaceChildren(...made.childNodes);
  for (const it of part.querySelectorAll("details[id]")) {
    it.open = opened.includes(it.id);
  }
  for (const it of part.querySelectorAll(".table")) {
    it.scrollLeft = left.get(name(it)) ?? 0;
  }
  if (at) {
    [...part.querySelectorAll("a, summary, [tabindex]")].find((it) => name(it) === at)?.focus({ preventScroll: true });
  }
};

const say = (place, text) => {
  if (place && text !== undefined && place.textContent !== text) {
    place.textContent = text;
  }
};

// A part with data-events is told anew by the server whenever it is another one; what is to be
// said of it stands in the element that it names, and beside the way to the alerts how many are open. A
// browser comes again by itself when it was cut off, and not when it was refused.
const listen = (part, address, wait = 1000) => {
  const events = new EventSource(address);
  const status = document.getElementById(part.dataset.status);
  let pause = wait;
  part.events = events;
  events.addEventListener("open", () => {
    pause = 1000;
    say(status, part.firstElementChild?.dataset.summary ?? "");
  });
  events.addEventListener("progress", (event) => {
    renew(part, event.data);
    say(status, part.firstElementChild?.dataset.summary);
  });
  events.addEventListener("alerts", (event) => say(document.getElementById("open-alerts"), event.data));
  events.addEventListener("end", () => events.close());
  events.addEventListener("error", () => {
    say(status, "No news come now: what is shown may be old. Trying again; or load the page again.");
    if (events.readyState === EventSource.CLOSED) {
      // Unless it is told of something else by then.
      setTimeout(() => part.events === events && listen(part, address, Math.min(pause * 2, LONGEST)), pause);
    }
  });
};

for (const part of document.querySelectorAll("[data-events]")) {
  listen(part, part.dataset.events);
}

// Why there was no answer to what the script asked; empty: it is worth asking again.
const refusal = (answer) => {
  if (answer.status === 429 || answer.status >= 500) {
    return "";
  }
  return answer.status === 403 ? "You may not see this any more." : `There is no answer (${answer.status}).`;
};

// A form with data-live asks while one types; the answer takes the place of the part that
// the form names, and is told anew from then on.
for (const form of document.querySelectorAll("form[data-live]")) {
  const target = document.getElementById(form.dataset.live);
  const status = document.getElementById(form.dataset.status);
  let timer = 0;
  let asking = null;

  const ask = async () => {
    asking?.abort();
    target.events?.close();
    target.events = null;
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
      if (!answer.ok) {
        const why = refusal(answer);
        status.textContent = why || "The control plane is busy; asking again soon.";
        if (!why) {
          clearTimeout(timer);
          timer = setTimeout(ask, Math.min(1000 * (Number(answer.headers.get("retry-after")) || 2), LONGEST));
        }
        return;
      }
      target.innerHTML = await answer.text();
      status.textContent = target.firstElementChild?.dataset.summary ?? "";
      query.delete("part");
      listen(target, `${target.dataset.events.split("?")[0]}?${query}`);
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
