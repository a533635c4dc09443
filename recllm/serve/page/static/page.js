// Says what went wrong when the server cannot be reached, or answers with something that is no page.
(() => {
  const say = (words) => {
    const place = document.getElementById("trouble");
    if (place) {
      place.textContent = words;
      place.hidden = !words;
    }
  };
  document.addEventListener("htmx:before:response", (event) => {
    const { status, headers, raw } = event.detail.ctx.response;
    if (raw.redirected) {
      // To the login, which is a page of its own.
      event.preventDefault();
      window.location.assign(raw.url);
    } else if ((headers.get("content-type") || "").startsWith("text/html")) {
      say("");
    } else {
      event.preventDefault();
      const busy = status === 429 || status === 503;
      say(busy ? "The server is busy. Try again in a moment." : `The server could not answer (${status}). Try again.`);
    }
  });
  document.addEventListener("htmx:error", () => say("The server cannot be reached. Try again in a moment."));
})();
