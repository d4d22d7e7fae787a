package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"
)

// shutdownGrace is how long requests under way may take when the server ends; then
// they are cut off. Connections on which nothing was asked yet count as well.
const shutdownGrace = 300 * time.Millisecond

// Checks are what a program says of itself. A nil function always agrees.
type Checks struct {
	// Healthy tells why the program should be restarted, or nil.
	Healthy func() error
	// Ready tells why the program does not do its work at the moment, or nil.
	Ready func() error
	// Metrics answers /metrics; nil: not found.
	Metrics http.Handler
}

// Handler answers /healthz, /readyz and /metrics.
func Handler(c Checks) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", check(c.Healthy))
	mux.Handle("GET /readyz", check(c.Ready))
	if c.Metrics != nil {
		mux.Handle("GET /metrics", c.Metrics)
	}
	return mux
}

func check(ask func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if ask != nil {
			if err := ask(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintln(w, err)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
}

// TCP serves h on address (host:port) until ctx ends.
func TCP(ctx context.Context, address string, h http.Handler) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w (choose another address, or end what uses it)", address, err)
	}
	return on(ctx, l, h)
}

// Unix serves h on a socket that only its owner can open, until ctx ends; a socket
// that an earlier process left there is replaced.
func Unix(ctx context.Context, path string, h http.Handler) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the old socket %s: %w", path, err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return fmt.Errorf("close the socket %s to others: %w", path, err)
	}
	return on(ctx, l, h)
}

// on serves until ctx ends; it returns when every request under way has ended or was cut off.
func on(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	err := server.Serve(l)
	if stop() {
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("end the server on %s: %w", l.Addr(), err)
	}
	return nil
}
