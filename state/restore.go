package state

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
)

type inRecord struct {
	Kind string
	Row  json.RawMessage
}

// frameReader reads records and refuses what Save would not have written.
type frameReader struct {
	r     *bufio.Reader
	crc   uint32 // of all lines before the last one read
	next  uint32 // of all lines read
	count uint64 // records read
}

func (f *frameReader) read() (*inRecord, error) {
	var head [9]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return nil, f.corrupt("cut off: %v", err)
	}
	size, digits, err := f.readLength()
	if err != nil {
		return nil, err
	}
	rest := make([]byte, size+1)
	if _, err := io.ReadFull(f.r, rest); err != nil {
		return nil, f.corrupt("cut off: %v", err)
	}
	data := rest[:size]
	if string(head[:]) != fmt.Sprintf("%08x ", crc32.Checksum(data, castagnoli())) || rest[size] != '\n' {
		return nil, f.corrupt("checksum does not match")
	}
	f.crc = f.next
	for _, part := range [][]byte{head[:], digits, {' '}, rest} {
		f.next = crc32.Update(f.next, castagnoli(), part)
	}
	var rec inRecord
	if err := strict(data, &rec); err != nil {
		return nil, f.corrupt("%v", err)
	}
	f.count++
	return &rec, nil
}

// readLength reads a decimal number and the space after it, written as Save does.
func (f *frameReader) readLength() (size int, digits []byte, err error) {
	for len(digits) <= 8 {
		c, err := f.r.ReadByte()
		if err != nil {
			return 0, nil, f.corrupt("cut off: %v", err)
		}
		if c == ' ' {
			break
		}
		digits = append(digits, c)
	}
	size, err = strconv.Atoi(string(digits))
	if err != nil || strconv.Itoa(size) != string(digits) || size <= 0 || size > maxRecordBytes {
		return 0, nil, f.corrupt("%q is not a length", digits)
	}
	return size, digits, nil
}

func (f *frameReader) corrupt(format string, args ...any) error {
	return fmt.Errorf("record %d: %s: %w", f.count, fmt.Sprintf(format, args...), ErrCorrupt)
}

func (f *frameReader) readHeader() (Header, error) {
	var h Header
	rec, err := f.read()
	if err != nil {
		return h, err
	}
	if rec.Kind != recordHeader {
		return h, f.corrupt("is %q, not a header", rec.Kind)
	}
	var format struct{ Format int }
	if err := json.Unmarshal(rec.Row, &format); err != nil {
		return h, f.corrupt("%v", err)
	}
	if format.Format != FormatVersion {
		return h, fmt.Errorf("snapshot has format %d, this version reads %d: %w", format.Format, FormatVersion, ErrCorrupt)
	}
	if err := strict(rec.Row, &h); err != nil {
		return h, f.corrupt("%v", err)
	}
	if h.Level > MaxLevel {
		return h, fmt.Errorf("snapshot is of level %d, this version knows %d: %w", h.Level, MaxLevel, ErrLevel)
	}
	return h, nil
}

// ReadHeader reads the first record of a snapshot file: what it is of, not whether it is whole.
func ReadHeader(r io.Reader) (Header, error) {
	h, err := (&frameReader{r: bufio.NewReader(r)}).readHeader()
	if err != nil {
		return h, fmt.Errorf("read the snapshot's header: %w", err)
	}
	return h, nil
}

// RewriteGeneration copies a snapshot file, sets its restore generation, and forgets who led: the file can be restored into a
// cluster whose terms are younger or older. It is for an operator's restore; generation must be above the file's.
func RewriteGeneration(r io.Reader, w io.Writer, generation uint64) error {
	s, err := readSnapshot(r)
	if err != nil {
		return err
	}
	if generation <= s.meta.Generation {
		return fmt.Errorf("rewrite the snapshot: generation %d is not above the file's %d: %w", generation, s.meta.Generation, ErrInvalid)
	}
	s.meta.Generation = generation
	s.meta.LeadTerm, s.meta.LeadIndex, s.meta.LeadNode = 0, 0, ""
	return s.Save(w)
}

// readSnapshot builds a fresh snapshot from a file, or says why it cannot.
func readSnapshot(r io.Reader) (*Snapshot, error) {
	b := &builder{s: newSnapshot(), f: frameReader{r: bufio.NewReaderSize(r, 1<<16)}, table: -1}
	if err := b.read(); err != nil {
		return nil, fmt.Errorf("restore the state: %w", err)
	}
	return b.s, nil
}

// builder fills a snapshot from records.
type builder struct {
	s      *Snapshot
	f      frameReader
	table  Table  // of the last record
	key    string // of the last record
	allocs *loader
}

func (b *builder) read() error {
	header, err := b.f.readHeader()
	if err != nil {
		return err
	}
	b.s.index = header.Index
	b.allocs = newLoader(b.s)
	for {
		rec, err := b.f.read()
		if err != nil {
			return err
		}
		if rec.Kind == recordTrailer {
			return b.finish(header, rec)
		}
		if err := b.add(rec); err != nil {
			return err
		}
	}
}

func (b *builder) add(rec *inRecord) error {
	switch rec.Kind {
	case TableMeta.String():
		return b.addMeta(rec)
	case TableJobs.String():
		return addRow(b, TableJobs, rec, func(j *Job) string { return rowKey(j.Namespace, j.ID) }, b.s.jobs.put)
	case TableJobVersions.String():
		return addRow(b, TableJobVersions, rec, func(j *Job) string { return versionKey(j.Namespace, j.ID, j.Version) }, b.s.versions.put)
	case TableNodes.String():
		return addRow(b, TableNodes, rec, func(n *Node) string { return n.ID }, b.s.nodes.put)
	case TableAllocs.String():
		return b.addAlloc(rec)
	case recordCopies:
		return b.addCopies(rec)
	case TableRequests.String():
		return addRow(b, TableRequests, rec, func(q *requestRow) string { return q.ID }, func(_ string, q *requestRow) { b.s.indexRequest(q) })
	case TableNodePools.String():
		return addRow(b, TableNodePools, rec, func(p *NodePool) string { return p.Name }, b.s.pools.put)
	case TableImages.String():
		return addRow(b, TableImages, rec, func(i *Image) string { return i.Digest }, b.s.images.put)
	}
	return b.f.corrupt("kind %q is not known", rec.Kind)
}

func (b *builder) addMeta(rec *inRecord) error {
	if b.table >= TableMeta {
		return b.f.corrupt("a second %s record", rec.Kind)
	}
	b.table = TableMeta
	if err := strict(rec.Row, &b.s.meta); err != nil {
		return b.f.corrupt("%v", err)
	}
	return nil
}

// addRow puts one row. Rows must come in order: then none is there twice and saving again gives the same bytes.
func addRow[R any](b *builder, t Table, rec *inRecord, keyOf func(*R) string, put func(string, *R)) error {
	row := new(R)
	if err := strict(rec.Row, row); err != nil {
		return b.f.corrupt("%v", err)
	}
	key := keyOf(row)
	if t < b.table || b.table < TableMeta || t == b.table && key <= b.key {
		return b.f.corrupt("row %q of %s is out of order", key, t)
	}
	b.table, b.key = t, key
	put(key, row)
	return nil
}

// addAlloc adds an allocation. Allocations stand in the order of their creation.
func (b *builder) addAlloc(rec *inRecord) error {
	a := new(Alloc)
	if err := strict(rec.Row, a); err != nil {
		return b.f.corrupt("%v", err)
	}
	if b.table > TableAllocs || b.table < TableMeta {
		return b.f.corrupt("row %q of %s is out of order", truncate(a.ID, maxNameBytes), TableAllocs)
	}
	if b.table = TableAllocs; !b.allocs.whole(a) {
		return b.f.corrupt("row %q is not an allocation", truncate(a.ID, maxNameBytes))
	}
	return nil
}

// addCopies adds the allocations that are like the one before.
func (b *builder) addCopies(rec *inRecord) error {
	c := new(copies)
	if err := strict(rec.Row, c); err != nil {
		return b.f.corrupt("%v", err)
	}
	if b.table != TableAllocs {
		return b.f.corrupt("%s are out of order", recordCopies)
	}
	if wrong := b.allocs.copies(c); wrong != "" {
		return b.f.corrupt("%s are not right: %s", recordCopies, wrong)
	}
	return nil
}

// finish compares the trailer with what was read.
func (b *builder) finish(header Header, rec *inRecord) error {
	var t trailer
	if err := strict(rec.Row, &t); err != nil {
		return b.f.corrupt("%v", err)
	}
	switch {
	case t.Records != b.f.count-1:
		return b.f.corrupt("file should have %d records, has %d", t.Records, b.f.count-1)
	case t.CRC != fmt.Sprintf("%08x", b.f.crc):
		return b.f.corrupt("checksum of the file does not match")
	case b.s.header() != header:
		return b.f.corrupt("header and meta row differ")
	case !b.allocs.finish():
		return b.f.corrupt("a row of %s is there twice", TableAllocs)
	}
	if _, err := b.f.r.ReadByte(); !errors.Is(err, io.EOF) {
		return b.f.corrupt("something follows the trailer")
	}
	return nil
}

// settleDirty marks everything as changed at an index: whoever looked last before it starts from scratch.
func (s *Snapshot) settleDirty(index uint64) {
	for j := range s.Jobs() {
		s.jobsDirty.mark(rowKey(j.Namespace, j.ID), index)
	}
	for key := range s.allocs.byJob.byKey.Scan { // also of jobs whose rows are gone
		s.jobsDirty.mark(key, index)
	}
	ids := s.allocs.byNode.byKey.Keys()
	for n := range s.Nodes() {
		ids = append(ids, n.ID)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		s.nodesDirty.note(mark{index, id})
	}
	s.jobsDirty.floor, s.nodesDirty.floor = index, index
	s.imagesAt, s.poolsIndex, s.nodesIndex = index, index, index
}
