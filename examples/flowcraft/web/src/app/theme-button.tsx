import { Moon, Sun } from "lucide-react";
import { Button } from "@/ui/button";
import { Tip } from "@/ui/tip";
import { toggleTheme, useTheme } from "./theme";

export function ThemeButton() {
  const theme = useTheme();
  const Icon = theme === "dark" ? Sun : Moon;
  const label = theme === "dark" ? "Light theme" : "Dark theme";
  return (
    <Tip text={label}>
      <Button look="quiet" size="icon" aria-label={label} data-testid="theme" onClick={toggleTheme}>
        <Icon aria-hidden className="size-[17px]" />
      </Button>
    </Tip>
  );
}
