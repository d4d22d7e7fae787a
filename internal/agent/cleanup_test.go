package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

func TestRemoveState(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string
		left  []string // nil: the directory is gone
	}{
		{"no directory", nil, nil},
		{"what an agent leaves", []string{"key", "plan.json", "agent.sock"}, nil},
		{"what a crash leaves", []string{"key.123", ".plan-456"}, nil},
		{"the files of others stay", []string{"key", "notes"}, []string{"notes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			for _, f := range tt.files {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // a second time finds nothing to do
				if err := RemoveState(dir, slog.New(slog.DiscardHandler)); err != nil {
					t.Fatal(err)
				}
			}
			left, err := os.ReadDir(dir)
			if tt.left == nil && !os.IsNotExist(err) || len(left) != len(tt.left) {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// TestEndsSoon: an agent whose API does not answer ends when it is told, and not only when the
// waits between its requests, which have grown, are over.
func TestEndsSoon(t *testing.T) {
	a, err := New(Config{
		Self: east1, Port: 5555, StateDir: t.TempDir(), API: &rest.Config{Host: "https://127.0.0.1:1"},
		Timing: quick, Log: slog.New(slog.DiscardHandler),
	}, DataPlane{Parts: []Part{newFake("wireguard")}, Keys: &fakeKeys{current: 1}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	time.Sleep(8 * time.Second) // some of them last longer now than the end may
	began := time.Now()
	stop()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %s", took)
	}
}
