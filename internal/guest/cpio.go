package guest

import (
	"bytes"
	"fmt"
)

// cpio makes an archive in the "newc" format, the one that Linux unpacks as its first
// root (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	b     bytes.Buffer
	inode int
}

const (
	modeDir  = 0o040755
	modeFile = 0o100644
	modeExec = 0o100755
	modeChar = 0o020600
)

func (c *cpio) dir(name string)                            { c.entry(name, modeDir, nil, 0, 0) }
func (c *cpio) file(name string, mode int, content []byte) { c.entry(name, mode, content, 0, 0) }
func (c *cpio) device(name string, major, minor int)       { c.entry(name, modeChar, nil, major, minor) }

func (c *cpio) entry(name string, mode int, content []byte, major, minor int) {
	c.inode++
	// magic, ino, mode, uid, gid, nlink, mtime, filesize, dev (major, minor),
	// rdev (major, minor), namesize with the final zero, check
	fmt.Fprintf(&c.b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0)
	c.b.WriteString(name + "\x00")
	c.pad()
	c.b.Write(content)
	c.pad()
}

func (c *cpio) pad() {
	for c.b.Len()%4 != 0 {
		c.b.WriteByte(0)
	}
}

// bytes ends the archive.
func (c *cpio) bytes() []byte {
	c.entry("TRAILER!!!", 0, nil, 0, 0)
	return c.b.Bytes()
}
