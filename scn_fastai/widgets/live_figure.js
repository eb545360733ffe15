// Plotly's own half in the browser, five megabytes, made ready once a page; every further figure finds it there.

const READY = Symbol.for("scn_fastai.plotly");

function plotly(model) {
  const ready = (globalThis[READY] ??= {}), version = model.get("_version");
  ready[version] ??= import(URL.createObjectURL(new Blob([model.get("_bundle")], { type: "text/javascript" })));
  return ready[version];
}

// After each change plotly tells the kernel of all its defaults; nobody asks, and it costs as much as a small plot.
function quiet(View) {
  if (View) View.prototype._sendTraceDeltas = View.prototype._sendLayoutDelta = () => {};
}

// Plotly draws thousands of points on twice as many pixels each way as most screens have: four times the work.
function asFineAsTheScreen(model) {
  model.get("_config").plotGlPixelRatio ??= Math.min(2, Math.max(1, globalThis.devicePixelRatio || 1));
}

export default () => {
  let figure;
  return {
    async initialize(context) {
      asFineAsTheScreen(context.model);
      const own = await plotly(context.model);
      quiet(own.FigureView);
      figure = own.default();
      await figure.initialize(context);
    },
    render: (context) => figure.render(context),
  };
};
