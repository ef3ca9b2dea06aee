/** A line without axes: the shape of the last minutes. */
export function Sparkline({ values, className }: { values: readonly number[]; className?: string }) {
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
