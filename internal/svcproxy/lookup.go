package svcproxy

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// shownBackends is how many backends of a service Lookup gives.
const shownBackends = 16

// Lookup tells what the kernel has for a service: whether it is balanced, and the first of
// its backends. Those of a service with session affinity are not told. It changes nothing.
func Lookup(ctx context.Context, n tunnelns.Namespace, k remoteservice.Key) (backends []netip.AddrPort, known bool, err error) {
	err = n.Do(func() error {
		if err := runNFT(ctx, nil, "list", "chain", "ip", Table, chainProxy); err != nil {
			return fmt.Errorf("table ip %s in %v: %w", Table, n, err)
		}
		var out string
		// nft says of an element that is not there what it says of anything that fails.
		known = runNFT(ctx, &out, "get", "element", "ip", Table, mapServices, "{ "+text(k)+" }") == nil
		for i := 0; known && i < shownBackends; i++ {
			there := runNFT(ctx, &out, "get", "element", "ip", Table, mapBackends, "{ "+text(k)+" . "+strconv.Itoa(i)+" }") == nil
			b, ok := parseBackend(out)
			if !there || !ok {
				break
			}
			backends = append(backends, b)
		}
		return nil
	})
	return backends, known, err
}

// backend is what an element of the map of backends leads to: "… : 10.132.0.7 . 8080 }".
var backend = regexp.MustCompile(`: ([0-9.]+) \. ([0-9]+)\b`)

func parseBackend(out string) (netip.AddrPort, bool) {
	m := backend.FindStringSubmatch(out)
	if m == nil {
		return netip.AddrPort{}, false
	}
	b, err := netip.ParseAddrPort(m[1] + ":" + m[2])
	return b, err == nil
}

// runNFT runs nft(8) in the thread's namespace.
func runNFT(ctx context.Context, out *string, args ...string) error {
	said, err := exec.CommandContext(ctx, "nft", append([]string{"-n"}, args...)...).CombinedOutput()
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
		return fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, first)
	}
	if out != nil {
		*out = string(said)
	}
	return nil
}
