// Says what went wrong when the server cannot be reached, or answers with something that is no page.
(() => {
  const trouble = () => document.getElementById("trouble");
  const say = (words) => {
    const place = trouble();
    if (place) {
      place.textContent = words;
      place.hidden = !words;
    }
  };
  document.addEventListener("htmx:before:response", (event) => {
    const response = event.detail.ctx.response;
    if ((response.headers.get("content-type") || "").startsWith("text/html")) {
      say("");
      return;
    }
    event.preventDefault();
    const status = response.status;
    say(
      status === 429 || status === 503
        ? "The server is busy. Try again in a moment."
        : `The server could not answer (${status}). Try again, or reload the page.`,
    );
  });
  document.addEventListener("htmx:error", () => say("The server cannot be reached. Try again in a moment."));
})();
