package simd_test

import (
	"crypto/aes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vcpu/soft/simd"
)

func load(p []byte) simd.Vec {
	return simd.Vec{Lo: binary.LittleEndian.Uint64(p), Hi: binary.LittleEndian.Uint64(p[8:])}
}

func store(v simd.Vec) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, v.Lo), v.Hi)
}

// big has four words as the SHA instructions want them, the first highest.
func big(w0, w1, w2, w3 uint32) simd.Vec {
	return simd.Vec{Lo: uint64(w3) | uint64(w2)<<32, Hi: uint64(w1) | uint64(w0)<<32}
}

func little(w0, w1, w2, w3 uint32) simd.Vec { return big(w3, w2, w1, w0) }

func bytesOf(n int) *rapid.Generator[[]byte] { return rapid.SliceOfN(rapid.Byte(), n, n) }

func TestAESRoundsMakeTheCipher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, plain := bytesOf(16).Draw(t, "key"), bytesOf(16).Draw(t, "plain")
		keys := expand(load(key))

		state := simd.PXOR(load(plain), keys[0])
		for _, k := range keys[1:10] {
			state = simd.AESENC(state, k)
		}
		state = simd.AESENCLAST(state, keys[10])
		block, err := aes.NewCipher(key)
		require.NoError(t, err)
		want := make([]byte, 16)
		block.Encrypt(want, plain)
		require.Equal(t, want, store(state))

		state = simd.PXOR(state, keys[10])
		for i := 9; i > 0; i-- {
			state = simd.AESDEC(state, simd.AESIMC(keys[i]))
		}
		require.Equal(t, plain, store(simd.AESDECLAST(state, keys[0])))
	})
}

// expand is FIPS 197 §5.2 for 128-bit keys.
func expand(key simd.Vec) (keys [11]simd.Vec) {
	keys[0] = key
	rcon := uint8(1)
	for i := range 10 {
		k := keys[i]
		word := simd.PSHUFD(simd.AESKEYGENASSIST(k, rcon), 0xFF)
		k = simd.PXOR(k, simd.PSLLDQ(k, 4))
		k = simd.PXOR(k, simd.PSLLDQ(k, 8))
		keys[i+1] = simd.PXOR(k, word)
		rcon = rcon<<1 ^ rcon>>7*0x1B
	}
	return keys
}

// padded is a message of less than 56 bytes as SHA's one block of 16 words.
func padded(message []byte) (w [16]uint32) {
	block := make([]byte, 64)
	copy(block, message)
	block[len(message)] = 0x80
	binary.BigEndian.PutUint64(block[56:], uint64(len(message))*8)
	for i := range w {
		w[i] = binary.BigEndian.Uint32(block[4*i:])
	}
	return w
}

func TestSHA1RoundsMakeTheDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOfN(rapid.Byte(), 0, 55).Draw(t, "message")
		words := padded(message)
		var w [20]simd.Vec
		for i := range w {
			if i < 4 {
				w[i] = big(words[4*i], words[4*i+1], words[4*i+2], words[4*i+3])
				continue
			}
			w[i] = simd.SHA1MSG2(simd.PXOR(simd.SHA1MSG1(w[i-4], w[i-3]), w[i-2]), w[i-1])
		}
		start := big(0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
		const startE = 0xC3D2E1F0
		before, abcd := start, start
		e := simd.PADDD(w[0], big(startE, 0, 0, 0))
		for i := range w {
			if i > 0 {
				e = simd.SHA1NEXTE(before, w[i])
			}
			before, abcd = abcd, simd.SHA1RNDS4(abcd, e, uint8(i/5))
		}
		last := simd.SHA1NEXTE(before, big(startE, 0, 0, 0))
		abcd = simd.PADDD(abcd, start)
		digest := []byte{}
		for i := range uint(4) {
			digest = binary.BigEndian.AppendUint32(digest, abcd.Dword(3-i))
		}
		digest = binary.BigEndian.AppendUint32(digest, last.Dword(3))
		want := sha1.Sum(message)
		require.Equal(t, want[:], digest)
	})
}

func TestSHA256RoundsMakeTheDigest(t *testing.T) {
	// FIPS 180-4 §4.2.2.
	k := [64]uint32{
		0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
		0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
		0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
		0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
		0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
		0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
		0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
		0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
	}
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOfN(rapid.Byte(), 0, 55).Draw(t, "message")
		words := padded(message)
		abef := big(0x6a09e667, 0xbb67ae85, 0x510e527f, 0x9b05688c)
		cdgh := big(0x3c6ef372, 0xa54ff53a, 0x1f83d9ab, 0x5be0cd19)
		start := [2]simd.Vec{abef, cdgh}
		var w [16]simd.Vec
		for i := range w {
			if i < 4 {
				w[i] = little(words[4*i], words[4*i+1], words[4*i+2], words[4*i+3])
			} else {
				w9 := simd.PALIGNR(w[i-1], w[i-2], 4)
				w[i] = simd.SHA256MSG2(simd.PADDD(simd.SHA256MSG1(w[i-4], w[i-3]), w9), w[i-1])
			}
			wk := simd.PADDD(w[i], little(k[4*i], k[4*i+1], k[4*i+2], k[4*i+3]))
			abef, cdgh = simd.SHA256RNDS2(cdgh, abef, wk), abef
			abef, cdgh = simd.SHA256RNDS2(cdgh, abef, simd.PSRLDQ(wk, 8)), abef
		}
		abef, cdgh = simd.PADDD(abef, start[0]), simd.PADDD(cdgh, start[1])
		digest := []byte{}
		for _, w := range []uint32{
			abef.Dword(3), abef.Dword(2), cdgh.Dword(3), cdgh.Dword(2),
			abef.Dword(1), abef.Dword(0), cdgh.Dword(1), cdgh.Dword(0),
		} {
			digest = binary.BigEndian.AppendUint32(digest, w)
		}
		want := sha256.Sum256(message)
		require.Equal(t, want[:], digest)
	})
}

func TestCRC32IsCastagnoliWhateverTheWidth(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	rapid.Check(t, func(t *rapid.T) {
		p := bytesOf(8).Draw(t, "bytes")
		start := rapid.Uint32().Draw(t, "crc")
		want := ^crc32.Update(^start, table, p)
		x := binary.LittleEndian.Uint64(p)
		require.Equal(t, want, simd.CRC32x64(start, x))
		require.Equal(t, want, simd.CRC32x32(simd.CRC32x32(start, uint32(x)), uint32(x>>32)))
		words, bytes := start, start
		for s := 0; s < 64; s += 16 {
			words = simd.CRC32x16(words, uint16(x>>s))
		}
		for _, b := range p {
			bytes = simd.CRC32x8(bytes, b)
		}
		require.Equal(t, want, words)
		require.Equal(t, want, bytes)
	})
}

func TestPCLMULQDQMultipliesPolynomials(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := load(bytesOf(16).Draw(t, "a")), load(bytesOf(16).Draw(t, "b"))
		imm := rapid.Byte().Draw(t, "imm")
		x, y := a.Lo, b.Lo
		if imm&1 != 0 {
			x = a.Hi
		}
		if imm&16 != 0 {
			y = b.Hi
		}
		var want simd.Vec
		for i := range uint64(64) {
			if y>>i&1 != 0 {
				want = simd.PXOR(want, simd.Vec{Lo: x << i, Hi: x >> (64 - i)})
			}
		}
		require.Equal(t, want, simd.PCLMULQDQ(a, b, imm))
	})
}
