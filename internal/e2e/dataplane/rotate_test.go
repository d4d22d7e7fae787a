package dataplane

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// news is how long a change takes through two API servers and the controller between them,
// generously; rotationLoss is what a new key may cost.
const (
	news         = 300 * time.Millisecond
	rotationLoss = time.Second
)

// testRotation replaces a node's key under traffic in both directions: what it costs those
// who talk with the node, and nobody else, and that nothing is left of the former key.
func testRotation(t *testing.T, w *world) {
	n := w.node("west-1")
	for range 3 {
		former := n.secret()
		ours := []*pinger{
			ping(t, w.pod("east-1", open).network(), w.pod("east-1", open).ip, w.pod("west-1", open).ip, pace),
			ping(t, w.pod("west-1", open).network(), w.pod("west-1", open).ip, w.pod("east-2", open).ip, pace),
		}
		others := ping(t, w.pod("east-1", open).network(), w.pod("east-1", open).ip, w.pod("west-2", open).ip, pace)
		for _, p := range append(ours, others) {
			p.awaitAnswers(t, 5)
		}
		before := n.key
		if err := n.agent.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		n.key = n.announced(before)
		time.Sleep(news)
		w.sayAll()
		late := n.sinceAnnounced() - news // what the test itself needed to pass the key on
		for _, p := range ours {
			p.awaitAnswers(t, 20)
		}
		w.eventually(n.onlyKey)
		if r := others.end(); r.lost > 0 {
			t.Errorf("pair that has nothing to do with it: %v", r)
		}
		for i, p := range ours {
			r := p.end()
			t.Logf("%s: %v", []string{"to the node", "from the node"}[i], r)
			if r.outage > rotationLoss+late {
				t.Errorf("outage of %v, want at most %v when the key is passed on %v late", r.outage, rotationLoss, late)
			}
		}
		n.forgotten(former)
	}
}

// announced is the key that the node says in place of another.
func (n *node) announced(before mesh.Key) (key mesh.Key) {
	n.t.Helper()
	n.w.eventually(func() error {
		text, err := os.ReadFile(n.agentConfig().public())
		if err != nil {
			return err
		}
		if key, err = mesh.ParseKey(string(text)); err == nil && key == before {
			err = fmt.Errorf("still %v", key)
		}
		return err
	})
	return key
}

// sinceAnnounced is how long ago the node said its key.
func (n *node) sinceAnnounced() time.Duration {
	n.t.Helper()
	info, err := os.Stat(n.agentConfig().public())
	if err != nil {
		n.t.Fatal(err)
	}
	return time.Since(info.ModTime())
}

func (n *node) secret() []byte {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.agentConfig().Dir, "key"))
	if err != nil {
		n.t.Fatal(err)
	}
	return bytes.TrimSpace(text)
}

// onlyKey tells whether there is no other key beside the one in use.
func (n *node) onlyKey() error {
	files, err := filepath.Glob(filepath.Join(n.agentConfig().Dir, "key*"))
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("there are %v", files)
	}
	return err
}

// forgotten looks for a former key in every file of the node's state and in WireGuard.
func (n *node) forgotten(former []byte) {
	n.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(string(former))
	if err != nil {
		n.t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(n.agentConfig().Dir, "*"))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && (bytes.Contains(text, former) || bytes.Contains(text, raw)) {
			n.t.Errorf("the former key is in %s", filepath.Base(f))
		}
	}
	inUse := strings.TrimSpace(n.sh("nsenter --net=/run/netns/sdn-tunnel wg show sdntun-wg private-key"))
	if inUse == string(former) || inUse != string(n.secret()) {
		n.t.Error("WireGuard has another key than the file")
	}
}
