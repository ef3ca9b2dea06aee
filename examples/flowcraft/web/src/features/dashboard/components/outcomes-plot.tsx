import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useTheme } from "@/app/theme";
import { outcomes, type Series } from "../plot";

const HEIGHT = 264;

/** Stacked bars. uPlot draws on a canvas and keeps up with any rate; React only hands it new numbers. */
export default function OutcomesPlot({ series, sliceMs }: { series: Series; sliceMs: number }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(series);
  const theme = useTheme();

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const drawn = new uPlot(options(element.clientWidth, sliceMs), stacked(latest.current), element);
    plot.current = drawn;
    const resized = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      drawn.destroy();
      plot.current = null;
    };
  }, [sliceMs, theme]);

  useEffect(() => {
    latest.current = series;
    plot.current?.setData(stacked(series));
  }, [series]);

  return <div ref={box} className="h-66 w-full" data-testid="plot" />;
}

/** Each outcome on top of those before it; the highest is drawn first, so that the lower ones cover it. */
function stacked(series: Series): uPlot.AlignedData {
  let below = series.starts.map(() => 0);
  const layers = outcomes.map((outcome) => (below = below.map((sum, index) => sum + (series[outcome][index] ?? 0))));
  return [[...series.starts], ...layers.reverse()];
}

function options(width: number, sliceMs: number): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const bars = uPlot.paths.bars?.({ size: [0.72, 22], align: 1, radius: 0.12 });
  const axis = { stroke: color("faint"), font, ticks: { show: false } };
  return {
    width,
    height: HEIGHT,
    padding: [8, 24, 0, 0],
    cursor: { show: false },
    legend: { show: false },
    scales: {
      x: { range: (_, from, to) => [from, to + sliceMs / 1000] },
      y: { range: (_, __, top) => [0, Math.max(3, Math.ceil(top * 1.1))] },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 28, space: 90, values: (_, times) => times.map((time) => label(time, sliceMs)) },
      {
        ...axis,
        size: 38,
        space: 44,
        grid: { stroke: color("line"), width: 1 },
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000],
      },
    ],
    series: [
      {},
      ...outcomes.toReversed().map((outcome) => ({
        fill: color(`plot-${outcome}`),
        width: 0,
        points: { show: false },
        ...(bars === undefined ? {} : { paths: bars }),
      })),
    ],
  };
}

function label(seconds: number, sliceMs: number): string {
  const format: Intl.DateTimeFormatOptions =
    sliceMs < 60_000 ? { hour: "2-digit", minute: "2-digit", second: "2-digit" } : { hour: "2-digit", minute: "2-digit" };
  return new Date(seconds * 1000).toLocaleTimeString("en-GB", format);
}
