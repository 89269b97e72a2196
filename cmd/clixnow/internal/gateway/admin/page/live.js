// Updates the parts of the page with data-live. Without this script the page
// works too.
const button = document.getElementById("live"), refresh = document.getElementById("refresh")
const shown = new Map() // the HTML of each part as the server sent it

function say(state) {
  button.dataset.state = state
  button.lastChild.textContent = state
}

// isInUse reports whether the user types or selects in a part.
function isInUse(part) {
  const selection = getSelection()
  return part.contains(document.activeElement) && document.activeElement.matches("input")
    || !selection.isCollapsed && part.contains(selection.anchorNode)
}

// replace shows new HTML. What is open stays open, and the focus stays.
function replace(part, html) {
  const open = [...part.querySelectorAll("details")].map(details => details.open)
  const items = "a, button, summary"
  const at = [...part.querySelectorAll(items)].indexOf(document.activeElement)
  const href = at >= 0 && document.activeElement.getAttribute("href")
  part.innerHTML = html
  const details = part.querySelectorAll("details")
  if (details.length === open.length) details.forEach((each, i) => { each.open = open[i] })
  if (at < 0) return
  const next = [...part.querySelectorAll(items)]
  const same = href ? next.find(item => item.getAttribute("href") === href) : next[at]
  same?.focus({ preventScroll: true })
}

// update waits longer after slow responses, so that the page does not slow the
// database down.
async function update() {
  const began = performance.now()
  if (button.ariaPressed === "true" && !document.hidden) await load()
  setTimeout(update, Math.max(3000, 20 * (performance.now() - began)))
}

async function load() {
  try {
    const response = await fetch(refresh.href, { cache: "no-store" })
    if (!response.ok) throw new Error(response.statusText)
    const next = new DOMParser().parseFromString(await response.text(), "text/html")
    if (button.ariaPressed === "false") return
    for (const part of document.querySelectorAll("[data-live]")) {
      const html = next.getElementById(part.id)?.innerHTML
      if (html === undefined || html === shown.get(part.id) || isInUse(part)) continue
      replace(part, html)
      shown.set(part.id, html)
    }
    say("Live")
  } catch {
    say("Stopped")
  }
}

document.getElementById("faults")?.focus()
if (button) {
  for (const part of document.querySelectorAll("[data-live]")) shown.set(part.id, part.innerHTML)
  button.hidden = false
  refresh.hidden = true
  button.addEventListener("click", () => {
    button.ariaPressed = button.ariaPressed === "false"
    say(button.ariaPressed === "true" ? "Live" : "Paused")
  })
  setTimeout(update, 3000)
}
