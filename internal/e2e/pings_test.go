package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// pings are how many were sent and had no answer, and what ping said of them: its summary,
// and the times of the answers that are missing.
type pings struct {
	sent, lost int
	text       string
}

// pinging pings an address from a pod, or from its node itself if the pod is none, so many
// times a second until the returned function is called.
func (l *lab) pinging(t *testing.T, node string, from pod, address string, perSecond float64) (stop func() pings) {
	t.Helper()
	ping := fmt.Sprintf("ping -O -D -i %g %s", 1/perSecond, address)
	if from.pid != "" {
		ping = "nsenter -t " + from.pid + " -n " + ping
	}
	cmd := exec.Command(l.bin, "lab", "exec", "--name", l.name, "--node", node, "--", "sh", "-c",
		ping+" & p=$!; read line; kill -INT $p; wait $p")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() { _ = in.Close(); _ = cmd.Wait() })
	t.Cleanup(end)
	time.Sleep(time.Second) // some are answered before anything is done to the mesh
	return func() pings {
		t.Helper()
		end()
		return pinged(t, out.String())
	}
}

// nodesPing has the first node of east ping that of west, twenty times a second.
func (l *lab) nodesPing(t *testing.T) (stop func() pings) {
	t.Helper()
	return l.pinging(t, "east-1", pod{}, l.gateway(t, "west-1"), 20)
}

// pingRE is the summary of ping.
var pingRE = regexp.MustCompile(`(\d+) packets transmitted, (\d+) (?:packets )?received`)

// pinged is what ping says of itself. The last ones are not counted if ping ended before
// they could be answered: what is lost leaves answers after it.
func pinged(t *testing.T, out string) pings {
	t.Helper()
	m := pingRE.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no summary of ping in:\n%s", tail(out, 10))
	}
	sent, _ := strconv.Atoi(m[1])
	received, _ := strconv.Atoi(m[2])
	for range 10 {
		if sent <= received || strings.Contains(out, fmt.Sprintf("icmp_seq=%d ttl", sent)) {
			break
		}
		sent--
	}
	return pings{sent: sent, lost: sent - received, text: tail(out, 2) + "\n" + linesWith(out, "no answer yet")}
}

// TestPinged: what was under way at the end is not lost; what others were answered after is.
func TestPinged(t *testing.T) {
	answered := func(seqs ...int) (out string) {
		for _, s := range seqs {
			out += fmt.Sprintf("[1] 64 bytes from 10.0.0.1: icmp_seq=%d ttl=62 time=1 ms\n", s)
		}
		return out
	}
	for name, c := range map[string]struct {
		out        string
		sent, lost int
	}{
		"all":               {answered(1, 2, 3) + "3 packets transmitted, 3 received", 3, 0},
		"the end":           {answered(1, 2) + "4 packets transmitted, 2 received", 2, 0},
		"one between":       {answered(1, 3) + "3 packets transmitted, 2 received", 3, 1},
		"both":              {answered(1, 3) + "4 packets transmitted, 2 packets received", 3, 1},
		"none for long":     {answered(1) + "40 packets transmitted, 1 received", 30, 29},
		"out of order":      {answered(2, 1, 3) + "3 packets transmitted, 3 received", 3, 0},
		"more than the ten": {answered(1, 2, 15) + "15 packets transmitted, 3 received", 15, 12},
	} {
		if p := pinged(t, c.out); p.sent != c.sent || p.lost != c.lost {
			t.Errorf("%s: %d of %d lost, want %d of %d", name, p.lost, p.sent, c.lost, c.sent)
		}
	}
}
