package sdn

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
)

// The test binary is also the node daemon and the CNI plugin, so that both run in the
// namespaces of a node.
const (
	envNode = "SDN_TEST_NODE"
	envCNI  = "SDN_TEST_CNI"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(envCNI) != "":
		RunCNI()
	case os.Getenv(envNode) != "":
		if err := testDaemon(os.Getenv(envNode)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// daemonConfig is a Config and the file that stands for the API.
type daemonConfig struct {
	Config
	StateFile string
}

func testDaemon(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var cfg daemonConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	cfg.Source = &fileSource{path: cfg.StateFile}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return RunNode(ctx, cfg.Config)
}

// fileSource is a Source that reads a State from a file, again at each SIGHUP.
type fileSource struct {
	path  string
	mu    sync.Mutex
	state State
}

func (s *fileSource) Run(ctx context.Context, changed func()) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	for {
		data, err := os.ReadFile(s.path)
		if err != nil {
			return err
		}
		var st State
		if err := json.Unmarshal(data, &st); err != nil {
			return err
		}
		s.mu.Lock()
		s.state = st
		s.mu.Unlock()
		changed()
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
		}
	}
}

func (s *fileSource) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}
