import { Component, type ReactNode } from "react";
import { Card } from "@/ui/card";
import { Page } from "@/ui/page";
import { Failure } from "@/ui/states";

type State = { readonly broken: false } | { readonly broken: true; readonly error: unknown };

/** Keeps a page's bug on that page: the rest of the product goes on working. */
export class Boundary extends Component<{ readonly children: ReactNode }, State> {
  override state: State = { broken: false };

  static getDerivedStateFromError(error: unknown): State {
    return { broken: true, error };
  }

  override render(): ReactNode {
    if (!this.state.broken) return this.props.children;
    return (
      <Page title="Something broke">
        <Card>
          <Failure error={this.state.error} onRetry={() => this.setState({ broken: false })} />
        </Card>
      </Page>
    );
  }
}
