package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/agent"
	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodetrace"
	"github.com/sdn-tunnel/sdn-tunnel/internal/vswitch"
)

// maxAsk bounds what trace may be asked, in bytes.
const maxAsk = 8 << 20

// trace works without an agent, too: that may be the fault.
func trace(c *cli.Context) error {
	var ask diagnose.Ask
	if err := json.NewDecoder(io.LimitReader(c.App.Reader, maxAsk)).Decode(&ask); err != nil {
		return fmt.Errorf("read what to look at: %w (it is JSON on standard input, as `sdn-tunnel diagnose` sends it)", err)
	}
	state := c.String("state-dir")
	view := nodetrace.Look(c.Context, nodetrace.Options{
		Bridge: c.String("bridge"), Switch: vswitch.NewOVS("", slog.New(slog.DiscardHandler)), VNID: uint32(c.Uint("vnid")),
		Plan:  func() (mesh.DataPlane, error) { return agent.ReadPlan(state) },
		Agent: func(ctx context.Context) (diagnose.AgentView, error) { return askAgent(ctx, state) },
	}, ask)
	return json.NewEncoder(c.App.Writer).Encode(view)
}

// askAgent asks the agent that runs on this node.
func askAgent(ctx context.Context, stateDir string) (diagnose.AgentView, error) {
	r, err := agent.ReadReport(ctx, stateDir)
	if err != nil {
		return diagnose.AgentView{}, err
	}
	v := diagnose.AgentView{Version: r.AgentVersion, Cable: r.Cable, MTU: r.MTU, PlanSource: string(r.PlanSource), APIConnected: r.APIConnected, Refusals: r.Refusals}
	for _, p := range r.Parts {
		if p.Error != "" {
			v.Failed = append(v.Failed, p.Name+": "+p.Error)
		}
	}
	return v, nil
}
