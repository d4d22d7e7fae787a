package module

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNote: each note is a line of its own for who listens; without anybody it is nothing.
func TestNote(t *testing.T) {
	t.Setenv(progressFile, "")
	Note("east", "nobody asked")
	fifo := filepath.Join(t.TempDir(), "progress")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(progressFile, fifo)
	Note("east", "nobody listens any more")
	pipe, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	long := strings.Repeat("ü", 3000)
	Note("east", "pod p waits:\n"+`"x"`)
	Note("west", long)
	lines := bufio.NewReader(pipe)
	for _, want := range []struct{ host, message string }{{"east", "pod p waits:\n\"x\""}, {"west", long[:maxNote]}} {
		line, err := lines.ReadString('\n')
		var got struct{ Event, Host, Message string }
		if err != nil || json.Unmarshal([]byte(line), &got) != nil || got.Event != "note" || got.Host != want.host || got.Message != want.message {
			t.Errorf("%q, %v; want %v", line, err, want)
		}
	}
}
