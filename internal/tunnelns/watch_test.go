package tunnelns

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeepWatchingSaysOnce: an error that comes again at every try is logged once, and
// again after a time in which the watch held.
func TestKeepWatchingSaysOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		tries := 0
		err := KeepWatching(ctx, slog.New(slog.NewTextHandler(&log, nil)), func(context.Context) error {
			switch tries++; tries {
			case 4:
				return errors.New("another")
			case 6:
				time.Sleep(time.Minute) // it holds for a while
			case 8:
				cancel()
			}
			return errors.New("nobody there")
		})
		if err != nil || tries != 8 {
			t.Errorf("%v after %d tries", err, tries)
		}
		if n := strings.Count(log.String(), "\n"); n != 4 {
			t.Errorf("%d lines, want 4:\n%s", n, &log)
		}
	})
}
