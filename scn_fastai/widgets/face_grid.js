// The browser's half of FaceGrid: a canvas as large as the window on the faces, drawn from sheets that are asked for
// when they scroll into view. All that counts (order, selection, decisions) is kept by the kernel.

const FONT = '15px "Noto Sans", "DejaVu Sans", Arial, "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif';
const LINE = 19, PAD = 10, MOST_SHEETS = 48, ASK_EVERY = 80, PATIENCE = 4000, HEIGHT = 400;
const INK = "#222222", TINT = "#D6EBF8", BLUE = "#0072B2";
const DASHES = { solid: [], dash: [12, 6], dot: [3, 5] };
const VERDICTS = { accept: ["✓", "accepted"], reject: ["✗", "rejected"], choose: ["✎", "other label chosen"] };
const SILENT = "The kernel does not answer. If it is busy, wait; if it was restarted, run the cell again.";
const HELP = [
  ["click", "select one face"], ["shift-click", "select up to here"], ["ctrl-click, space", "add a face, or leave it out"],
  ["arrows, page up, page down, home, end", "move; with shift, select on the way"],
  ["ctrl-a, escape", "select all; select none"], ["a", "accept: take the proposed label, or keep this one"],
  ["r", "reject: keep the label from before, or go back to the given one"], ["1 ... 9, 0", "choose a class"],
  ["u", "undo the last step"], ["?", "show or hide this page"],
];

const make = (tag, className, text = "") =>
  Object.assign(document.createElement(tag), { className, textContent: text });
const thousands = (n) => n.toLocaleString("en-US");

class View {
  constructor(model, el) {
    this.model = model;
    this.looks = model.get("_looks");
    this.sheets = new Map(); // page -> {sheet, picture, faces}
    this.pending = new Set();
    this.anchor = null;
    this.build(el);
    const on = { "change:_generation": () => this.renew(), "change:_order": () => (this.scroll.scrollTop = 0) };
    for (const name of ["selected", "_legend", "_decided", "_words"]) on[`change:${name}`] = () => this.refresh();
    on["change:focused"] = () => { this.reveal(); this.refresh(); };
    on["msg:custom"] = (message, buffers) => this.receive(message, buffers);
    for (const [name, what] of Object.entries(on)) model.on(name, what);
    const resized = new ResizeObserver(() => this.resize());
    resized.observe(this.scroll);
    this.renew();
    this.close = () => {
      for (const [name, what] of Object.entries(on)) model.off(name, what);
      resized.disconnect();
      for (const timer of [this.timer, this.viewTimer, this.patience]) clearTimeout(timer);
    };
  }

  // -- the page ---------------------------------------------------------------------------------------------------

  build(el) {
    this.root = make("div", "scn-face-grid");
    this.root.tabIndex = 0;
    this.root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys would add and delete cells
    this.root.setAttribute("role", "application");
    this.root.setAttribute("aria-label", "Faces: arrows move, space selects, question mark shows the keys");
    this.legend = make("div", "bar legend");
    this.scroll = make("div", "scroll");
    this.canvas = make("canvas", "");
    this.spacer = make("div", "");
    this.scroll.append(this.canvas, this.spacer);
    this.words = make("div", "words");
    this.status = make("div", "bar status");
    this.status.setAttribute("aria-live", "polite");
    this.message = make("div", "message");
    this.message.hidden = true;
    this.help = make("div", "help");
    this.help.hidden = true;
    this.help.append(make("h3", "", "Keys"), make("table", ""));
    for (const row of HELP) this.help.lastChild.insertRow().append(...row.map((text) => make("td", "", text)));
    this.root.append(this.legend, this.scroll, this.words, this.status, this.buttons(), this.message, this.help);
    el.append(this.root);
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.scroll.addEventListener("scroll", () => this.drawSoon());
    this.help.addEventListener("click", () => (this.help.hidden = true));
  }

  buttons() {
    const bar = make("div", "bar buttons");
    const add = (key, text, what) => {
      const button = make("button", "");
      if (key) button.append(make("kbd", "", key));
      button.append(text);
      button.addEventListener("click", () => { what(); this.root.focus({ preventScroll: true }); });
      bar.append(button);
    };
    add("a", "accept", () => this.decide("accept"));
    add("r", "reject", () => this.decide("reject"));
    this.looks.classes.forEach((name, i) => add(i < 10 ? String((i + 1) % 10) : "", name, () => this.decide("choose", i)));
    add("u", "undo", () => this.ask({ kind: "undo" }));
    add("?", "keys", () => (this.help.hidden = !this.help.hidden));
    return bar;
  }

  renew() {
    const bytes = this.model.get("_order"), first = this.model.get("_first");
    this.order = new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    this.position = new Map();
    this.order.forEach((sample, place) => this.position.set(sample, place));
    this.sheets.clear();
    this.pending.clear();
    if (first.data) this.keep(first, first.data, first.revision === this.model.get("_revision"));
    this.resize();
    this.refresh();
  }

  refresh() {
    this.selected = new Set(this.model.get("selected"));
    const words = this.model.get("_words");
    this.words.textContent = words;
    this.words.hidden = !words;
    this.scroll.hidden = !!words;
    this.legend.replaceChildren(...this.model.get("_legend").map(([, text, color, dash, count]) => {
      const entry = make("span", "");
      const svg = `<svg width="26" height="18"><rect x="2" y="2" width="22" height="14" fill="none" stroke="${color}"` +
        ` stroke-width="3" stroke-dasharray="${{ solid: "none", dash: "6 3", dot: "2 3" }[dash]}"/></svg>`;
      entry.innerHTML = svg;
      entry.append(`${text} (${thousands(count)})`);
      return entry;
    }));
    if (this.model.get("_decided")) {
      this.legend.append(...Object.values(VERDICTS).map(([sign, text]) => make("span", "", `${sign} ${text}`)));
    }
    this.say();
    this.drawSoon();
  }

  say() {
    const { total } = this.looks, shown = this.order.length, focused = this.model.get("focused");
    const faces = shown === total ? thousands(total) : `${thousands(shown)} of ${thousands(total)}`;
    const parts = [`${faces} ${total === 1 ? "face" : "faces"}`, `${thousands(this.selected.size)} selected`,
      `${thousands(this.model.get("_decided"))} decided`];
    const info = this.position.has(focused) ? this.info(this.position.get(focused)) : null;
    const texts = [make("span", "", parts.join(", "))];
    if (info) {
      const verdict = info.verdict ? [VERDICTS[info.verdict].join(" ")] : [];
      texts.push(make("b", "", [`sample ${focused}`, ...info.lines, ...verdict].join(" · ")));
    }
    this.status.replaceChildren(...texts);
  }

  // -- geometry ---------------------------------------------------------------------------------------------------

  resize() {
    const width = this.scroll.clientWidth;
    if (!width) return;
    const { face, letters, lines } = this.looks, top = this.columns ? this.firstVisible() : 0;
    const wanted = Math.min(230, Math.max(face + 2 * PAD, letters * 7.2 + PAD));
    this.columns = Math.max(1, Math.floor(width / wanted));
    this.cellWidth = Math.floor(width / this.columns);
    this.cellHeight = face + lines * LINE + 2 * PAD + 6;
    const all = Math.ceil(this.order.length / this.columns) * this.cellHeight, scale = window.devicePixelRatio || 1;
    const height = Math.min(all, HEIGHT);
    this.scroll.style.height = `${height}px`;
    Object.assign(this.canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    this.spacer.style.height = `${Math.max(0, all - height)}px`;
    if (top) this.scroll.scrollTop = Math.floor(top / this.columns) * this.cellHeight;
    this.drawSoon();
  }

  firstVisible() { return Math.floor(this.scroll.scrollTop / this.cellHeight) * this.columns; }

  visible() {
    const last = (Math.floor((this.scroll.scrollTop + this.scroll.clientHeight - 1) / this.cellHeight) + 1) * this.columns;
    return [Math.min(this.firstVisible(), this.order.length), Math.min(last, this.order.length)];
  }

  reveal() {
    const place = this.position.get(this.model.get("focused"));
    if (place === undefined || !this.columns) return;
    const top = Math.floor(place / this.columns) * this.cellHeight, bottom = top + this.cellHeight;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (bottom > this.scroll.scrollTop + this.scroll.clientHeight) {
      this.scroll.scrollTop = bottom - this.scroll.clientHeight;
    }
  }

  // -- sheets -----------------------------------------------------------------------------------------------------

  info(place) {
    const sheet = this.sheets.get(Math.floor(place / this.looks.page));
    return sheet ? sheet.faces[place % this.looks.page] : null;
  }

  async keep(sheet, data, final = true) {
    const kept = { sheet, faces: sheet.faces, picture: null };
    this.sheets.delete(sheet.page); // a map keeps the order of insertion: the oldest sheet goes first
    this.sheets.set(sheet.page, kept);
    if (final) this.pending.delete(sheet.page);
    for (const page of this.sheets.keys()) {
      if (this.sheets.size <= MOST_SHEETS) break;
      this.sheets.delete(page);
    }
    kept.final = final;
    kept.picture = await createImageBitmap(new Blob([data]));
    this.say();
    this.drawSoon();
  }

  askForSheets() {
    this.timer = null;
    const [first, last] = this.visible();
    for (let page = Math.floor(first / this.looks.page); page * this.looks.page < last; page++) {
      if (this.sheets.get(page)?.final || this.pending.has(page)) continue;
      this.pending.add(page);
      this.ask({ kind: "page", generation: this.model.get("_generation"), page });
    }
    clearTimeout(this.viewTimer);
    this.viewTimer = setTimeout(() => {
      const view = this.model.get("view");
      if (view[0] === first && view[1] === last - first) return;
      this.model.set("view", [first, last - first]);
      this.model.save_changes();
    }, 200);
  }

  ask(message) {
    clearTimeout(this.patience);
    this.patience = setTimeout(() => { this.pending.clear(); this.tell(SILENT); }, PATIENCE);
    try { this.model.send(message); } catch { this.tell(SILENT); }
  }

  receive(message, buffers) {
    clearTimeout(this.patience);
    this.tell(message.kind === "sentence" ? message.text : "");
    if (message.kind === "page" && message.generation === this.model.get("_generation")) this.keep(message, buffers[0]);
    if (message.kind === "faces") {
      for (const [sample, about] of Object.entries(message.faces)) {
        const place = this.position.get(Number(sample));
        const info = place === undefined ? null : this.info(place);
        if (info) Object.assign(info, about);
      }
      this.refresh();
    }
  }

  tell(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  // -- drawing ----------------------------------------------------------------------------------------------------

  drawSoon() {
    this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
    this.timer ??= setTimeout(() => this.askForSheets(), this.sheets.size ? ASK_EVERY : 0);
  }

  draw() {
    if (!this.columns || this.scroll.hidden) return;
    const pen = this.canvas.getContext("2d"), scale = window.devicePixelRatio || 1;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    Object.assign(pen, { font: FONT, textAlign: "center", textBaseline: "top" });
    const [first, last] = this.visible();
    let drawn = 0;
    for (let place = first; place < last; place++) drawn += this.drawCell(pen, place);
    this.root.dataset.drawn = `${drawn}/${last - first}`; // of the faces in view those whose picture is there
  }

  drawCell(pen, place) {
    const { face, page } = this.looks, sample = this.order[place], info = this.info(place);
    const left = (place % this.columns) * this.cellWidth;
    const top = Math.floor(place / this.columns) * this.cellHeight - this.scroll.scrollTop;
    const { picture, sheet } = this.sheets.get(Math.floor(place / page)) ?? {};
    const zoom = sheet ? face / Math.max(sheet.width, sheet.height) : 1;
    const [width, height] = sheet ? [sheet.width * zoom, sheet.height * zoom] : [face, face];
    const middle = left + this.cellWidth / 2, x = middle - width / 2, y = top + PAD + (face - height) / 2;
    const chosen = this.selected.has(sample), focused = sample === this.model.get("focused");
    if (chosen) { pen.fillStyle = TINT; pen.fillRect(left + 1, top + 1, this.cellWidth - 2, this.cellHeight - 2); }
    if (focused) this.box(pen, left + 2, top + 2, this.cellWidth - 4, this.cellHeight - 4, INK, 3);
    pen.fillStyle = "#E5E5E5";
    if (!picture) pen.fillRect(x, y, width, height);
    else {
      const at = place % page, column = at % sheet.columns, row = Math.floor(at / sheet.columns);
      pen.drawImage(picture, column * sheet.width, row * sheet.height, sheet.width, sheet.height, x, y, width, height);
    }
    if (!info) return 0;
    if (info.missing) {
      this.text(pen, "image missing", middle, top + PAD + face / 2 - LINE, this.cellWidth - 8);
      this.text(pen, info.missing.split(/[\\/]/).pop(), middle, top + PAD + face / 2, this.cellWidth - 8);
    }
    const state = this.looks.states[info.state];
    if (state) {
      const plain = info.state === "unchanged";
      this.box(pen, x - 3, y - 3, width + 6, height + 6, state[0], plain ? 2 : 5, DASHES[state[1]]);
    }
    if (info.verdict) this.badge(pen, x + width - 26, y, VERDICTS[info.verdict][0], INK);
    if (chosen) this.badge(pen, x, y, "●", BLUE);
    info.lines.forEach((line, i) => this.text(pen, line, middle, top + PAD + face + 9 + i * LINE, this.cellWidth - 8));
    return picture ? 1 : 0;
  }

  box(pen, x, y, width, height, color, thick, dash = []) {
    Object.assign(pen, { strokeStyle: color, lineWidth: thick });
    pen.setLineDash(dash);
    pen.strokeRect(x, y, width, height);
    pen.setLineDash([]);
  }

  badge(pen, x, y, sign, color) {
    pen.fillStyle = color;
    pen.fillRect(x, y, 26, 24);
    pen.fillStyle = "#fff";
    pen.fillText(sign, x + 13, y + 4);
  }

  text(pen, text, x, y, room) {
    pen.fillStyle = INK;
    let shown = text;
    while (shown.length > 2 && pen.measureText(shown).width > room * 1.1) shown = `${shown.slice(0, -2)}…`;
    pen.fillText(shown, x, y, room);
  }

  // -- what a person does -----------------------------------------------------------------------------------------

  click(event) {
    this.root.focus({ preventScroll: true });
    const place = (Math.floor((event.offsetY + this.scroll.scrollTop) / this.cellHeight)) * this.columns +
      Math.floor(event.offsetX / this.cellWidth);
    if (event.offsetX >= this.columns * this.cellWidth || place >= this.order.length) return;
    if (event.shiftKey) this.selectTo(place);
    else if (event.ctrlKey || event.metaKey) this.toggle(place);
    else this.select([this.order[place]], place);
  }

  select(samples, place, anchor = place) {
    this.anchor = anchor;
    this.model.set("selected", samples);
    if (place !== null) this.model.set("focused", this.order[place]);
    this.model.save_changes();
  }

  selectTo(place) {
    const from = this.anchor ?? this.position.get(this.model.get("focused")) ?? place;
    const [low, high] = [Math.min(from, place), Math.max(from, place)];
    this.select(Array.from(this.order.slice(low, high + 1)), place, from);
  }

  toggle(place) {
    const next = new Set(this.model.get("selected")), sample = this.order[place];
    if (!next.delete(sample)) next.add(sample);
    this.select([...next], place);
  }

  decide(kind, label) {
    const focused = this.model.get("focused");
    const selected = this.model.get("selected").filter((s) => this.position.has(s)); // nobody decides on hidden faces
    const all = selected.length && (selected.includes(focused) || !this.position.has(focused));
    const samples = all ? selected : this.position.has(focused) ? [focused] : [];
    if (samples.length) this.ask({ kind, samples, label });
    else this.tell("Choose a face first: click it, or move to it with the arrows.");
  }

  move(event) {
    const rows = Math.max(1, Math.floor(this.scroll.clientHeight / this.cellHeight)) * this.columns;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -rows,
      PageDown: rows, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || !this.order.length) return false;
    const here = this.position.get(this.model.get("focused")), last = this.order.length - 1;
    let place = here === undefined ? this.visible()[0] : here + steps[event.key];
    if (Math.abs(steps[event.key]) < Infinity && here !== undefined && (place < 0 || place > last)) {
      place = event.key.startsWith("Page") ? place : here; // an arrow at the edge stays where it is
    }
    place = Math.max(0, Math.min(last, place));
    if (event.shiftKey) this.selectTo(place);
    else {
      this.anchor = place;
      this.model.set("focused", this.order[place]);
      this.model.save_changes();
    }
    return true;
  }

  key(event) {
    event.stopPropagation();
    const place = this.position.get(this.model.get("focused")), ctrl = event.ctrlKey || event.metaKey;
    if (event.target !== this.root && (event.key === " " || event.key === "Enter")) return; // a button's own keys
    if (ctrl && event.key === "a") this.select(Array.from(this.order), null, this.anchor);
    else if (ctrl || event.altKey) return;
    else if (event.key === "?") this.help.hidden = !this.help.hidden;
    else if (event.key === "Escape" && !this.help.hidden) this.help.hidden = true;
    else if (event.key === "Escape") this.select([], null, this.anchor);
    else if (event.key === " ") { if (place !== undefined) this.toggle(place); }
    else if (event.key === "a") this.decide("accept");
    else if (event.key === "r") this.decide("reject");
    else if (event.key === "u") this.ask({ kind: "undo" });
    else if (/^[0-9]$/.test(event.key)) {
      const label = (Number(event.key) + 9) % 10;
      if (label < this.looks.classes.length) this.decide("choose", label);
      else this.tell(`There is no class for the key ${event.key}.`);
    } else if (!this.move(event)) return;
    event.preventDefault();
  }
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.close();
  },
};
