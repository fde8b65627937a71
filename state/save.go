package state

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
)

// A snapshot file is text, one record a line:
//
//	crc32c length {"Kind":…,"Row":…}
//
// crc32c are eight hexadecimal digits over the JSON that follows, length its decimal number of bytes. The first record is the
// header, the last one counts the records before it and holds the checksum of all bytes before it.
// Tables come in the order of the Table constants, rows in the order of their keys, allocations in that of their creation. Behind an
// allocation may stand a record of "copies": those that follow and are like it, in columns. There is no time in it: saving the same
// state again gives the same bytes.

// FormatVersion is the version of the snapshot file's format.
const FormatVersion = 1

// maxRecordBytes bounds one record of a snapshot file. A row cannot grow beyond a few commands.
const maxRecordBytes = 8 * MaxCommandBytes

const (
	recordHeader  = "header"
	recordTrailer = "trailer"
)

// Header is the first record of a snapshot file.
type Header struct {
	Format     int
	Level      int
	Generation uint64
	Index      uint64
	ClusterID  string
}

type trailer struct {
	Records uint64
	CRC     string
}

type outRecord struct {
	Kind string
	Row  any
}

// frameWriter writes records and keeps the checksum of everything written.
type frameWriter struct {
	w     *bufio.Writer
	crc   uint32
	count uint64
	err   error
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func (f *frameWriter) write(kind string, row any) bool {
	if f.err != nil {
		return false
	}
	data := marshal(outRecord{Kind: kind, Row: row})
	if len(data) > maxRecordBytes {
		f.err = fmt.Errorf("save a row of %s: %d bytes, at most %d: %w", kind, len(data), maxRecordBytes, ErrLimit)
		return false
	}
	line := fmt.Appendf(nil, "%08x %d %s\n", crc32.Checksum(data, castagnoli()), len(data), data)
	f.crc = crc32.Update(f.crc, castagnoli(), line)
	f.count++
	_, f.err = f.w.Write(line)
	return f.err == nil
}

func writeTable[R any](f *frameWriter, kind Table, t table[R]) {
	for row := range t.all() {
		if !f.write(kind.String(), row) {
			return
		}
	}
}

// saveAllocs writes the allocations in the order of their creation.
func saveAllocs(f *frameWriter, s *Snapshot) {
	w := &copiesWriter{f: f, nodes: map[AllocNode]int{}}
	for a := range s.allocs.created() {
		if !w.write(a) {
			return
		}
	}
	w.flush()
}

// Save writes the whole state. It reads an immutable value: nothing stops meanwhile.
func (s *Snapshot) Save(w io.Writer) error {
	f := &frameWriter{w: bufio.NewWriterSize(w, 1<<16)}
	f.write(recordHeader, s.header())
	f.write(TableMeta.String(), &s.meta)
	writeTable(f, TableJobs, s.jobs)
	writeTable(f, TableJobVersions, s.versions)
	writeTable(f, TableNodes, s.nodes)
	saveAllocs(f, s)
	writeTable(f, TableRequests, s.requests)
	writeTable(f, TableNodePools, s.pools)
	writeTable(f, TableImages, s.images)
	f.write(recordTrailer, trailer{Records: f.count, CRC: fmt.Sprintf("%08x", f.crc)})
	if f.err == nil {
		f.err = f.w.Flush()
	}
	if f.err != nil {
		return fmt.Errorf("save the state at index %d: %w", s.index, f.err)
	}
	return nil
}

func (s *Snapshot) header() Header {
	return Header{
		Format: FormatVersion, Level: s.meta.Level, Generation: s.meta.Generation, Index: s.index, ClusterID: s.meta.ClusterID,
	}
}
