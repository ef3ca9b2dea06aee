const POINTS = 60;

/** A line without axes: the shape of the last minutes, smoothed to the available pixels. */
export function Sparkline({ values: all, className }: { values: readonly number[]; className?: string }) {
  const values = means(all);
  if (values.length < 2) return <div className={className} />;
  const top = Math.max(1, ...values);
  const points = values.map((value, index) => `${((index / (values.length - 1)) * 100).toFixed(2)},${(22 - (value / top) * 20).toFixed(2)}`);
  return (
    <svg aria-hidden viewBox="0 0 100 24" preserveAspectRatio="none" className={className}>
      <polygon points={`0,24 ${points.join(" ")} 100,24`} fill="currentColor" opacity="0.12" />
      <polyline points={points.join(" ")} fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinejoin="round" vectorEffect="non-scaling-stroke" />
    </svg>
  );
}

/** The values in at most POINTS equal groups, counted from the newest, so that the line does not jitter as it moves on. */
function means(values: readonly number[]): readonly number[] {
  const size = Math.ceil(values.length / POINTS);
  const groups = Math.floor(values.length / Math.max(1, size));
  return Array.from({ length: groups }, (_, index) => {
    const group = values.slice(values.length - (groups - index) * size, values.length - (groups - index - 1) * size);
    return group.reduce((sum, value) => sum + value, 0) / group.length;
  });
}
