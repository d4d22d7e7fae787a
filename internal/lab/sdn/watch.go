package sdn

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"
)

// OpenFlow 1.3's header and the messages that keep a connection (OpenFlow Switch
// Specification 1.3.5, 7.1 and 7.5).
const (
	ofVersion     = 0x04
	ofHello       = 0
	ofEchoRequest = 2
	ofEchoReply   = 3
	ofHeaderLen   = 8
)

// watchBridge calls lost each time that the bridge's OpenFlow connection ends: the
// bridge was deleted, or ovs-vswitchd has stopped. It returns when ctx ends.
func (n *node) watchBridge(ctx context.Context, lost func()) {
	path := filepath.Join(n.cfg.OVSRunDir, bridge+".mgmt")
	for ctx.Err() == nil {
		if err := holdConnection(ctx, path); err == nil {
			lost()
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// holdConnection returns nil when a connection that stood has ended, and an error when
// none could be made.
func holdConnection(ctx context.Context, path string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write([]byte{ofVersion, ofHello, 0, ofHeaderLen, 0, 0, 0, 1}); err != nil {
		return fmt.Errorf("greet %s: %w", path, err)
	}
	header := make([]byte, ofHeaderLen)
	for {
		if _, err := io.ReadFull(conn, header); err != nil {
			return nil
		}
		size := int(binary.BigEndian.Uint16(header[2:4]))
		if size < ofHeaderLen {
			return nil
		}
		message := make([]byte, size)
		copy(message, header)
		if _, err := io.ReadFull(conn, message[ofHeaderLen:]); err != nil {
			return nil
		}
		if message[1] == ofEchoRequest {
			message[1] = ofEchoReply
			if _, err := conn.Write(message); err != nil {
				return nil
			}
		}
	}
}
