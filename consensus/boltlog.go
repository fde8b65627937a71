package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// boltLog keeps raft's log and its vote in a file of bbolt, an entry under its index.
//
// It does what raft-boltdb does, and writes an entry down by hand: that library encodes each by reflection into a buffer of its own that
// grows several times, which was a fourth of what writing a log cost.
type boltLog struct {
	db   *bbolt.DB
	room []byte // for the entries of one write; the file's write lock is held
}

// Buckets of the file. A log of raft-boltdb would be in "logs".
const (
	entriesBucket = "entries"
	voteBucket    = "vote"
	foreignBucket = "logs"
)

// keptRoom bounds the room that is kept for the next write.
const keptRoom = 1 << 20

// filled is how full pages are made: indexes only grow, so that nothing is ever put in between.
const filled = 0.95

var (
	// errNoKey says what raft looks for when it looks for a vote: a text of its own.
	errNoKey    = errors.New("not found")
	errBadEntry = errors.New("the entry is damaged")
)

func openBoltLog(path string, options *bbolt.Options, noSync bool) (*boltLog, error) {
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		return nil, err
	}
	db.NoSync = noSync
	err = db.Update(func(tx *bbolt.Tx) error {
		if tx.Bucket([]byte(foreignBucket)) != nil {
			return errors.New("it is a log of raft-boltdb, which this version does not read; start with a new data directory, or restore a backup")
		}
		for _, name := range []string{entriesBucket, voteBucket} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &boltLog{db: db}, nil
}

// Close closes the file.
func (b *boltLog) Close() error { return b.db.Close() }

// free is how many bytes of the file nothing is in.
func (b *boltLog) free() int64 { return int64(b.db.Stats().FreeAlloc) }

// FirstIndex is the oldest entry's, 0 when there is none.
func (b *boltLog) FirstIndex() (uint64, error) { return b.end((*bbolt.Cursor).First) }

// LastIndex is the newest entry's, 0 when there is none.
func (b *boltLog) LastIndex() (uint64, error) { return b.end((*bbolt.Cursor).Last) }

func (b *boltLog) end(which func(*bbolt.Cursor) (key, value []byte)) (index uint64, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		if key, _ := which(tx.Bucket([]byte(entriesBucket)).Cursor()); len(key) == 8 {
			index = binary.BigEndian.Uint64(key)
		}
		return nil
	})
	return index, err
}

// GetLog reads one entry.
func (b *boltLog) GetLog(index uint64, l *raft.Log) error {
	return b.db.View(func(tx *bbolt.Tx) error {
		text := tx.Bucket([]byte(entriesBucket)).Get(indexKey(nil, index))
		if text == nil {
			return raft.ErrLogNotFound
		}
		if err := readEntry(text, l); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		l.Index = index
		return nil
	})
}

// StoreLog writes one entry.
func (b *boltLog) StoreLog(l *raft.Log) error { return b.StoreLogs([]*raft.Log{l}) }

// StoreLogs writes entries, all of them or none.
func (b *boltLog) StoreLogs(logs []*raft.Log) error {
	tx, err := b.db.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	bucket := tx.Bucket([]byte(entriesBucket))
	bucket.FillPercent = filled
	size := 0
	for _, l := range logs {
		size += len(l.Data) + len(l.Extensions) + entryHead
	}
	if cap(b.room) < size {
		b.room = make([]byte, 0, size)
	}
	room := b.room[:0] // large enough: what bbolt refers to until it has written stays where it is
	for _, l := range logs {
		at := len(room)
		room = indexKey(room, l.Index)
		text := len(room)
		room = appendEntry(room, l)
		if err := bucket.Put(room[at:text:text], room[text:len(room):len(room)]); err != nil {
			return err
		}
	}
	if cap(b.room) > keptRoom {
		b.room = nil
	}
	return tx.Commit()
}

// DeleteRange removes entries.
func (b *boltLog) DeleteRange(from, to uint64) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(entriesBucket)).Cursor()
		for key, _ := c.Seek(indexKey(nil, from)); key != nil && binary.BigEndian.Uint64(key) <= to; key, _ = c.Next() {
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Set saves a part of the vote.
func (b *boltLog) Set(key, value []byte) error {
	return b.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(voteBucket)).Put(key, value) })
}

// Get reads a part of the vote.
func (b *boltLog) Get(key []byte) (value []byte, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		text := tx.Bucket([]byte(voteBucket)).Get(key)
		if text == nil {
			return errNoKey
		}
		value = append(value, text...)
		return nil
	})
	return value, err
}

// SetUint64 saves the term or a part of the vote.
func (b *boltLog) SetUint64(key []byte, value uint64) error { return b.Set(key, indexKey(nil, value)) }

// GetUint64 reads the term or a part of the vote.
func (b *boltLog) GetUint64(key []byte) (uint64, error) {
	text, err := b.Get(key)
	switch {
	case err != nil:
		return 0, err
	case len(text) != 8:
		return 0, fmt.Errorf("%s: %w", key, errBadEntry)
	}
	return binary.BigEndian.Uint64(text), nil
}

func indexKey(room []byte, index uint64) []byte { return binary.BigEndian.AppendUint64(room, index) }

// entryHead is the most that an entry has beside its data and extensions: key, kind, term, time and two lengths.
const entryHead = 8 + 1 + 4*binary.MaxVarintLen64

// appendEntry writes down an entry, but for its index.
func appendEntry(room []byte, l *raft.Log) []byte {
	room = append(room, byte(l.Type))
	room = binary.AppendUvarint(room, l.Term)
	at := int64(0) // no time at all
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	room = binary.AppendVarint(room, at)
	room = append(binary.AppendUvarint(room, uint64(len(l.Extensions))), l.Extensions...)
	return append(binary.AppendUvarint(room, uint64(len(l.Data))), l.Data...)
}

// readEntry reads what appendEntry wrote. It keeps nothing of the text.
func readEntry(text []byte, l *raft.Log) error {
	r := entryReader{left: text}
	*l = raft.Log{Type: raft.LogType(r.byte()), Term: r.number()}
	if at := r.signed(); at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	l.Extensions, l.Data = r.bytes(), r.bytes()
	if r.bad || len(r.left) > 0 {
		return errBadEntry
	}
	return nil
}

// entryReader reads an entry's parts.
type entryReader struct {
	left []byte
	bad  bool
}

// took moves on by n bytes; less than one means that there was nothing to read.
func (r *entryReader) took(n int) {
	if n <= 0 || n > len(r.left) {
		r.bad, r.left = true, nil
		return
	}
	r.left = r.left[n:]
}

func (r *entryReader) byte() (b byte) {
	if len(r.left) > 0 {
		b = r.left[0]
	}
	r.took(1)
	return b
}

func (r *entryReader) number() uint64 {
	v, n := binary.Uvarint(r.left)
	r.took(n)
	return v
}

func (r *entryReader) signed() int64 {
	v, n := binary.Varint(r.left)
	r.took(n)
	return v
}

// bytes is a copy, nil when there are none.
func (r *entryReader) bytes() []byte {
	n := r.number()
	if n == 0 || n > uint64(len(r.left)) {
		r.bad = r.bad || n > 0
		return nil
	}
	b := append([]byte(nil), r.left[:n]...)
	r.left = r.left[n:]
	return b
}
