package kuberouter

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// nftList is a table of family ip as nft shows it; an error may just mean that there is none.
func nftList(ctx context.Context, table string) (string, error) {
	out, err := exec.CommandContext(ctx, "nft", "-nn", "list", "table", "ip", table).Output()
	return string(out), err
}

// nftLoad runs a script as one transaction.
func nftLoad(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
