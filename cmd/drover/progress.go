package main

import (
	"fmt"
	"io"
	"time"
)

// progressAfter is how long something takes before its progress is worth a line.
const progressAfter = time.Second

// progress tells a terminal how far a transfer is. Elsewhere it says nothing.
type progress struct {
	w     io.Writer // nil when nobody looks
	verb  string
	of    int64 // 0 when not known
	n     int64
	began time.Time
	last  time.Time
}

// progress begins to count; verb is "saved" or "sent".
func (a *app) progress(verb string, of int64) *progress {
	p := &progress{verb: verb, of: of, began: time.Now()}
	if isTerminal(a.err) {
		p.w = a.err
	}
	return p
}

func (p *progress) reader(r io.Reader) io.Reader { return progressReader{r, p} }

type progressReader struct {
	io.Reader
	p *progress
}

// Read reads and counts.
func (r progressReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.p.add(n)
	return n, err
}

func (p *progress) add(n int) {
	p.n += int64(n)
	if p.w == nil || time.Since(p.began) < progressAfter || time.Since(p.last) < progressAfter/4 {
		return
	}
	p.last = time.Now()
	of := ""
	if p.of > 0 {
		of = fmt.Sprintf(" of %.1f", float64(p.of)/(1<<20))
	}
	fmt.Fprintf(p.w, "\r\033[K%.1f%s MiB %s", float64(p.n)/(1<<20), of, p.verb)
}

// done clears the line.
func (p *progress) done() {
	if !p.last.IsZero() {
		fmt.Fprint(p.w, "\r\033[K")
	}
}
