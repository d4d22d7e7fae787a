package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestBadInput: each error names what is wrong, and nothing is started.
func TestBadInput(t *testing.T) {
	for _, tt := range []struct {
		name, args, want string
	}{
		{"no cluster", "", "--cluster and --node are needed"},
		{"no node", "run --cluster east", "--cluster and --node are needed"},
		{"unknown command", "start", `"start" is not a command`},
		{"port out of range", "--cluster east --node e1 --tunnel-port 70000", "--tunnel-port 70000"},
		{"no such kubeconfig", "--cluster east --node e1 --kubeconfig /nonexistent", "read --kubeconfig /nonexistent"},
		{"log level", "--log-level loud --cluster east --node e1", "--log-level loud"},
		{"flags before the command", "--cluster east --node e1 --tunnel-port 70000 run", "--tunnel-port 70000"},
		{"an MTU that IPv6 does not take", "--cluster east --node e1 --mtu 1000 run", "--mtu 1000"},
		{"flags after the command", "run --cluster east --node e1 --tunnel-port 70000", "--tunnel-port 70000"},
		{"no agent runs", "--state-dir /nonexistent status", "/nonexistent/agent.sock"},
		{"unknown format", "status -o yaml", "-o yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NODE_NAME", "")
			t.Setenv("KUBECONFIG", "")
			a := app()
			a.Writer = new(bytes.Buffer)
			err := a.RunContext(t.Context(), append([]string{"sdn-tunnel-agent"}, strings.Fields(tt.args)...))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
