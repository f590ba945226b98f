// Command check holds what the log hands out against Go's sumdb/note and sumdb/tlog.
//
// It reads one JSON object a line from standard input and writes "ok", or "refused: " and why, for each:
//
//	{"check": "note", "keys": ["name+hash+key"], "note": "..."}
//	{"check": "receipt", "keys": [...], "receipt": "..."}
//	{"check": "consistency", "old": 1, "old_root": "base64", "new": 2, "new_root": "base64", "proof": ["base64"]}
//	{"check": "tiles", "size": 1, "root": "base64", "tiles": {"tile/0/000.p/1": "base64"}, "index": 0, "leaf_hash": "base64", "proof": ["base64"]}
//
// The last reads the tiles as a client of the log would, proves the index from them, and wants the same proof. It checks that proof
// against the root, because the x/mod of Debian 12 does not authenticate every tile that it reads.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Check    string            `json:"check"`
	Keys     []string          `json:"keys"`
	Note     string            `json:"note"`
	Receipt  string            `json:"receipt"`
	Old      int64             `json:"old"`
	OldRoot  string            `json:"old_root"`
	New      int64             `json:"new"`
	NewRoot  string            `json:"new_root"`
	Proof    []string          `json:"proof"`
	Size     int64             `json:"size"`
	Root     string            `json:"root"`
	Index    int64             `json:"index"`
	LeafHash string            `json:"leaf_hash"`
	Tiles    map[string]string `json:"tiles"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var q question
		err := json.Unmarshal(lines.Bytes(), &q)
		if err == nil {
			err = answer(q)
		}
		if err != nil {
			fmt.Printf("refused: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok")
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer(q question) error {
	switch q.Check {
	case "note":
		_, err := head(q.Note, q.Keys)
		return err
	case "receipt":
		return receipt(q.Receipt, q.Keys)
	case "consistency":
		oldRoot, err1 := tlog.ParseHash(q.OldRoot)
		newRoot, err2 := tlog.ParseHash(q.NewRoot)
		proof, err3 := hashes(q.Proof)
		for _, err := range []error{err1, err2, err3} {
			if err != nil {
				return err
			}
		}
		return tlog.CheckTree(proof, q.New, newRoot, q.Old, oldRoot)
	case "tiles":
		return tiles(q)
	}
	return fmt.Errorf("there is no check %q", q.Check)
}

// head is the tree of a checkpoint that one of the keys has signed.
func head(text string, keys []string) (tlog.Tree, error) {
	var verifiers []note.Verifier
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return tlog.Tree{}, err
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open([]byte(text), note.VerifierList(verifiers...))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != opened.Sigs[0].Name {
		return tlog.Tree{}, errors.New("not a checkpoint of the log that signed it")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func receipt(text string, keys []string) error {
	cut := strings.Index(text, "\n\n")
	if cut < 0 {
		return errors.New("no checkpoint in the receipt")
	}
	lines := strings.Split(text[:cut], "\n")
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "extra ") || !strings.HasPrefix(lines[2], "index ") {
		return errors.New("not a receipt")
	}
	leaf, err := base64.StdEncoding.Strict().DecodeString(lines[1][len("extra "):])
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(lines[2][len("index "):], 10, 64)
	if err != nil {
		return err
	}
	path, err := hashes(lines[3:])
	if err != nil {
		return err
	}
	tree, err := head(text[cut+2:], keys)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(leaf))
}

// store serves tiles under their C2SP paths, which leave Go's tile height out.
type store map[string]string

func (store) Height() int { return 8 }

func (s store) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		text, found := s[path]
		if !found {
			return nil, fmt.Errorf("no %s", path)
		}
		bytes, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}
		all = append(all, bytes)
	}
	return all, nil
}

func (store) SaveTiles([]tlog.Tile, [][]byte) {}

func tiles(q question) error {
	root, err := tlog.ParseHash(q.Root)
	if err != nil {
		return err
	}
	given, err := hashes(q.Proof)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tlog.Tree{N: q.Size, Hash: root}, store(q.Tiles))
	proof, err := tlog.ProveRecord(q.Size, q.Index, reader)
	if err != nil {
		return err
	}
	leaf, err := tlog.ParseHash(q.LeafHash)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, q.Size, root, q.Index, leaf); err != nil {
		return err
	}
	if len(proof)+len(given) > 0 && !reflect.DeepEqual([]tlog.Hash(proof), given) {
		return errors.New("the proof is another than the tiles give")
	}
	return nil
}

func hashes(texts []string) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, text := range texts {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			return nil, err
		}
		all = append(all, hash)
	}
	return all, nil
}
