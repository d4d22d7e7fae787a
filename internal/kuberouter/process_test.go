package kuberouter

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// TestArguments: kube-router is the proxy of services and nothing else, and listens nowhere.
func TestArguments(t *testing.T) {
	got := arguments("127.0.0.1:1234")
	for _, want := range []string{
		"--master=http://127.0.0.1:1234", "--run-service-proxy=true", "--run-router=false", "--run-firewall=false",
		"--run-loadbalancer=false", "--enable-cni=false", "--auto-mtu=false", "--health-port=0", "--metrics-port=0",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing: %v", want, got)
		}
	}
}

func TestProgram(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		want         []string
	}{
		{"a complaint", "echo 'I1121 all is well'; echo 'F1121 no ip_vs here' >&2; echo 'I1121 more' >&2; exit 3", []string{"exit status 3", "F1121 no ip_vs here"}},
		{"the last words are the panic's", "printf 'E1121 hm\\npanic: nil\\ngoroutine 1\\n' >&2; exit 2", []string{"exit status 2", "panic: nil"}},
		{"no complaint", "exit 0", []string{"ended by itself"}},
		{"what it is told", `[ "$NODE_NAME" = east-1 ] && [ -z "$KUBECONFIG" ] && echo "F $1"; exit 1`, []string{"F --master=http://127.0.0.1:1"}},
	} {
		t.Setenv("KUBECONFIG", "/nonexistent")
		p := program{path: standIn(t, tt.script), namespace: tunnelns.Own(), node: "east-1", log: slog.New(slog.DiscardHandler)}
		err := p.run(t.Context(), "127.0.0.1:1")
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", tt.name, err, want)
			}
		}
	}
	p := program{path: "/nonexistent/kube-router", namespace: tunnelns.Own(), log: slog.New(slog.DiscardHandler)}
	if err := p.run(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "image has to have it") {
		t.Errorf("no program: %v", err)
	}
}

// TestProgramEnds: told to end it ends, also if it does not listen.
func TestProgramEnds(t *testing.T) {
	for _, script := range []string{"exec sleep 60", "trap '' TERM; while :; do sleep 0.1; done"} {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		p := program{path: standIn(t, script), namespace: tunnelns.Own(), log: slog.New(slog.DiscardHandler)}
		go func() { ended <- p.run(ctx, "") }()
		time.Sleep(100 * time.Millisecond)
		stop()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		case <-time.After(endGrace + 5*time.Second):
			t.Errorf("%q does not end", script)
		}
	}
}

// TestTail: lines come in pieces, and are not kept at any length.
func TestTail(t *testing.T) {
	said := &strings.Builder{}
	out := &tail{log: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, piece := range []string{"I1 be", "gin\nW2 ", "\n", "E3 " + strings.Repeat("x", 2000) + "\nI4 end\n\n"} {
		if n, err := out.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if lines := strings.Split(strings.TrimSpace(said.String()), "\n"); len(lines) != 4 || !strings.Contains(lines[0], "I1 begin") {
		t.Errorf("%d lines: %s", len(lines), said)
	}
	if last := out.last(); !strings.HasPrefix(last, "E3 xxx") || len(last) != longestLine {
		t.Errorf("the complaint: %d bytes", len(last))
	}
}
