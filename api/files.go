package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// followEvery is how often a file that is followed is looked at.
	followEvery = 250 * time.Millisecond
	// maxFilePiece bounds what is read at a time.
	maxFilePiece = 64 << 10
)

// files are those of the allocation that the path names.
func (c *call) files() (Files, string, error) {
	f, err := c.s.b.Inside.Files(c.id(), c.query.Get("task"))
	return f, firstOf(c.query.Get("path"), "/"), err
}

func listFiles(c *call) ([]FileInfo, error) {
	f, path, err := c.files()
	if err != nil {
		return nil, err
	}
	return f.List(path)
}

func statFile(c *call) (FileInfo, error) {
	f, path, err := c.files()
	if err != nil {
		return FileInfo{}, err
	}
	return f.Stat(path)
}

// openFile opens the file that the request names.
func (c *call) openFile() (File, string, error) {
	f, path, err := c.files()
	if err != nil {
		return nil, "", err
	}
	file, err := f.Open(path)
	return file, path, err
}

// plainBytes sends the head of an answer that is a stream of bytes which a browser must not take for a page.
func (c *call) plainBytes(kind string) flushing {
	h := c.w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Disposition", "attachment")
	c.mark(h)
	return flushing{c.w}
}

// catFile writes a file whole.
func catFile(c *call) error { return c.sendFile(0, 1<<62) }

// readFileAt writes a part of a file.
func readFileAt(c *call) error {
	p := parser{values: c.query}
	offset, limit := int64(min(p.uint("offset"), 1<<62)), int64(min(p.uint("limit"), 1<<62))
	if p.err != nil {
		return p.err
	}
	if !c.query.Has("limit") {
		limit = 1 << 62
	}
	return c.sendFile(offset, limit)
}

func (c *call) sendFile(offset, limit int64) error {
	file, _, err := c.openFile()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	w := c.plainBytes("application/octet-stream")
	if _, err := io.Copy(w, io.NewSectionReader(file, offset, limit)); err != nil {
		return err
	}
	if !c.w.began() {
		c.w.WriteHeader(http.StatusOK)
	}
	return nil
}

// StreamFrame is a piece of a streamed file, one JSON text; the field's clients read them. An empty one says that the sender lives.
type StreamFrame struct {
	Offset    int64  `json:",omitempty"` // behind the piece
	Data      []byte `json:",omitempty"` // base64
	File      string `json:",omitempty"`
	FileEvent string `json:",omitempty"` // "file truncated": it begins again
}

// streamFile writes a file from an offset on, and what is added to it.
func streamFile(c *call) error {
	p := parser{values: c.query}
	follow, plain := p.flagOr("follow", true), p.flag("plain")
	offset, origin := int64(min(p.uint("offset"), 1<<62)), p.oneOf("origin", LogFromStart, LogFromEnd)
	if p.err != nil {
		return p.err
	}
	file, path, err := c.openFile()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	size, err := file.Size()
	if err != nil {
		return err
	}
	if origin == LogFromEnd {
		offset = max(0, size-offset)
	}
	ctx, cancel := c.untilClosing()
	defer cancel()
	s := fileStream{file: file, path: path, offset: offset, plain: plain}
	if plain {
		s.w = c.plainBytes("application/octet-stream")
	} else {
		s.w = c.plainBytes("application/json")
	}
	if _, err := s.w.Write(nil); err != nil {
		return err
	}
	return s.run(ctx, follow)
}

// fileStream is a file on its way to a reader.
type fileStream struct {
	w      io.Writer
	file   File
	path   string
	offset int64
	plain  bool
}

func (s *fileStream) run(ctx context.Context, follow bool) error {
	buf := make([]byte, maxFilePiece)
	quiet := time.Now()
	for ctx.Err() == nil {
		n, err := s.file.ReadAt(buf, s.offset)
		if n > 0 {
			s.offset += int64(n)
			quiet = time.Now()
			if err := s.emit(StreamFrame{Offset: s.offset, Data: buf[:n], File: s.path}); err != nil {
				return err
			}
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !follow {
			return nil
		}
		if size, err := s.file.Size(); err == nil && size < s.offset {
			s.offset = 0
			if err := s.emit(StreamFrame{File: s.path, FileEvent: "file truncated"}); err != nil {
				return err
			}
			continue
		}
		if time.Since(quiet) > beatEvery {
			quiet = time.Now()
			if err := s.emit(StreamFrame{}); err != nil {
				return err
			}
		}
		if !pause(ctx, followEvery) {
			return nil
		}
	}
	return nil
}

func (s *fileStream) emit(f StreamFrame) error {
	data := f.Data
	if !s.plain {
		var err error
		if data, err = json.Marshal(f); err != nil {
			return err
		}
	}
	if len(data) == 0 {
		return nil
	}
	_, err := s.w.Write(data)
	return err
}

// packFiles writes a file or a directory as a tar archive.
func packFiles(c *call) error {
	f, path, err := c.files()
	if err != nil {
		return err
	}
	if _, err := f.Stat(path); err != nil {
		return err
	}
	ctx, cancel := c.untilClosing()
	defer cancel()
	return f.Pack(ctx, path, c.plainBytes("application/x-tar"))
}

// unpackFiles writes the files of a tar archive.
func unpackFiles(c *call) error {
	f, path, err := c.files()
	if err != nil {
		return err
	}
	ctx, cancel := c.untilClosing()
	defer cancel()
	if err := f.Unpack(ctx, path, c.in); err != nil {
		return err
	}
	return c.reply(WriteResponse{})
}
