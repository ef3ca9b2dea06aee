export function Logo({ className }: { className?: string }) {
  return (
    <svg aria-hidden viewBox="0 0 32 32" className={className}>
      <rect width="32" height="32" rx="8" fill="var(--accent)" />
      <path
        d="M8 11.5h6.2c2 0 3.3 1 4 2.7l.6 1.6c.7 1.7 2 2.7 4 2.7H24M8 20.5h4.2"
        fill="none"
        stroke="#fff"
        strokeWidth="2.6"
        strokeLinecap="round"
      />
      <circle cx="23" cy="11.5" r="2.3" fill="#fff" />
    </svg>
  );
}
