"use strict";
// Tables that sort by a click on a heading, and a drawing that zooms: nothing else needs a script.
for (const table of document.querySelectorAll("table.sort")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, i) => {
    const cell = row.cells[i], bar = cell.querySelector(".bar i");
    return cell.dataset.v ?? (bar ? bar.style.width : cell.textContent);
  };
  const compare = (a, b) => {
    const x = parseFloat(a), y = parseFloat(b);
    return isNaN(x) || isNaN(y) ? (isNaN(x) - isNaN(y)) || a.localeCompare(b) : x - y;
  };
  heads.forEach((head, i) => head.addEventListener("click", () => {
    const dir = head.dataset.dir === "1" ? -1 : 1;
    heads.forEach(h => delete h.dataset.dir);
    head.dataset.dir = dir;
    body.append(...[...body.rows].sort((a, b) => dir * compare(value(a, i), value(b, i))));
  }));
}

const net = document.getElementById("net");
if (net) {
  const whole = { w: +net.dataset.w, h: +net.dataset.h };
  const about = document.getElementById("about");
  let view = { x: 0, y: 0, w: whole.w, h: whole.h };
  const show = () => net.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  const aspect = () => net.clientHeight / Math.max(net.clientWidth, 1);
  const all = () => {
    const w = Math.max(whole.w, whole.h / aspect());
    view = { x: (whole.w - w) / 2, y: (whole.h - w * aspect()) / 2, w, h: w * aspect() };
    show();
  };
  // The beginning, large enough to be read.
  const start = () => {
    const w = Math.max(net.clientWidth * 1.15, 360);
    view = { x: (whole.w - w) / 2, y: 0, w, h: w * aspect() };
    const first = net.querySelector("g.io rect");
    if (first && w < whole.w) view.x = +first.getAttribute("x") + 66 - w / 2;
    show();
  };
  // Keeps the point at (px, py), 0 to 1 of the view, where it is.
  const zoom = (factor, px, py) => {
    const most = 1.3 * Math.max(whole.w, whole.h / aspect());
    const w = Math.min(Math.max(view.w * factor, 120), most), h = w * aspect();
    view = { x: view.x + (view.w - w) * px, y: view.y + (view.h - h) * py, w, h };
    show();
  };
  const place = e => {
    const box = net.getBoundingClientRect();
    return [(e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height];
  };
  net.addEventListener("wheel", e => {
    e.preventDefault();
    zoom(Math.exp(e.deltaY * 0.0015), ...place(e));
  }, { passive: false });
  const fingers = new Map();
  let moved = 0;
  net.addEventListener("pointerdown", e => {
    fingers.set(e.pointerId, e);
    moved = 0;
  });
  net.addEventListener("pointermove", e => {
    const was = fingers.get(e.pointerId);
    if (!was) return;
    const scale = view.w / net.clientWidth;
    if (fingers.size === 1) {
      view.x -= (e.clientX - was.clientX) * scale;
      view.y -= (e.clientY - was.clientY) * scale;
      moved += Math.abs(e.clientX - was.clientX) + Math.abs(e.clientY - was.clientY);
      if (moved > 4) net.setPointerCapture(e.pointerId);
      show();
    } else {
      const other = [...fingers.values()].find(f => f.pointerId !== e.pointerId);
      const apart = f => Math.hypot(f.clientX - other.clientX, f.clientY - other.clientY);
      zoom(apart(was) / Math.max(apart(e), 1), ...place(other));
      moved = 99;
    }
    fingers.set(e.pointerId, e);
  });
  for (const kind of ["pointerup", "pointercancel", "pointerleave"])
    net.addEventListener(kind, e => fingers.delete(e.pointerId));
  net.addEventListener("click", e => {
    const node = e.target.closest("g");
    if (!node || moved > 4) return;
    net.querySelectorAll(".picked").forEach(n => n.classList.remove("picked"));
    node.classList.add("picked");
    about.textContent = node.querySelector("title").textContent;
  });
  net.addEventListener("keydown", e => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (!step && e.key !== "+" && e.key !== "-") return;
    e.preventDefault();
    if (!step) return zoom(e.key === "+" ? 0.8 : 1.25, 0.5, 0.5);
    view.x += step[0] * view.w / 10;
    view.y += step[1] * view.h / 10;
    show();
  });
  const buttons = { in: () => zoom(0.7, 0.5, 0.5), out: () => zoom(1 / 0.7, 0.5, 0.5), all };
  for (const b of document.querySelectorAll("[data-zoom]")) b.addEventListener("click", buttons[b.dataset.zoom]);
  addEventListener("resize", start);
  addEventListener("beforeprint", all);
  addEventListener("afterprint", start);
  start();
}
