import { Component, type ReactNode } from "react";
import { Card } from "@/ui/card";
import { Page } from "@/ui/page";
import { Failure } from "@/ui/states";

type State = { readonly broken: false } | { readonly broken: true; readonly error: unknown };

type Props = {
  readonly children: ReactNode;
  /** What is shown instead of a part of a page. */
  readonly fallback?: (error: unknown) => ReactNode;
};

/** Keeps a bug on its page, or on its part of one: the rest of the product goes on working. */
export class Boundary extends Component<Props, State> {
  override state: State = { broken: false };

  static getDerivedStateFromError(error: unknown): State {
    return { broken: true, error };
  }

  override render(): ReactNode {
    if (!this.state.broken) return this.props.children;
    if (this.props.fallback) return this.props.fallback(this.state.error);
    return (
      <Page title="Something broke">
        <Card>
          <Failure error={this.state.error} onRetry={() => this.setState({ broken: false })} />
        </Card>
      </Page>
    );
  }
}
