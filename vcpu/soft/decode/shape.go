package decode

// entry is what an opcode is: an operation and the shape of its operands. In
// entries of shape byReg and byRM op is a group's number.
type entry struct {
	op    Op
	shape shapeID
	flags entryFlags
}

// entryFlags says what makes an encoding undefined.
type entryFlags uint8

const (
	lockable entryFlags = 1 << iota // takes LOCK with a memory destination
	memOnly
	regOnly
	no64
	only64
)

// shape is how operands are encoded.
type shape struct {
	form  Form
	size  size
	msize msize
	imm   imm
	fix   fix
	flags shapeFlags
}

// shapeFlags says where registers are.
type shapeFlags uint8

const (
	modRM  shapeFlags = 1 << iota
	anyMod            // ModRM.mod does not count: rm is a register
	opReg             // rm is in the opcode
	opSeg             // reg is in the opcode: a segment register
	reg8              // reg is an 8-bit register
	rm8               // rm is an 8-bit register if it is one
	reg3              // reg knows no REX.R: MMX and segment registers
	rm3               // rm knows no REX.B: MMX and x87 registers
)

// shapeID is the index of a shape. Names are the manual's operand codes (SDM 2
// A.2) run together: what is written first is the destination.
type shapeID uint8

const (
	nothing  shapeID = iota
	byReg            // groups[op] by ModRM.reg and mod
	byRM             // subgroups[op] by ModRM.rm
	byPrefix         // another map, or twoByteSSE
	invalid          // ModRM without a meaning

	// No ModRM.
	opB // byte operands
	opV
	opZ
	opY
	opS // on the stack
	opA // an address
	opF // near
	ib
	ibS // sign-extended, on the stack
	izS
	iwF
	iwV
	iwIb
	jb
	jz
	ap
	segS
	alIb
	axIz
	alPort
	axPort
	alOb
	axOv
	obAL
	ovAX
	rv
	rvS
	rvAX
	rbIb
	rvIv

	// General registers and memory.
	eb
	ev
	evS
	evF
	ebGb
	evGv
	gbEb
	gvEv
	ebIb
	evIz
	evIb
	ebU8
	evU8
	eb1
	ev1
	ebCL
	evCL
	evGvU8
	evGvCL
	gvEvIz
	gvEvIb
	ewGw
	gvEb
	gvEw
	gvEd
	gvM
	gvMa
	gvMp
	mp
	mq
	m
	mY
	mTab
	md
	ew
	ewV
	ry
	rd
	rq
	rA // an address register
	rN
	evSw
	swEv
	rC
	cR
	rD
	dR
	gyEy
	eyGy
	gyEb
	gyEv
	gyEyU8
	gN16
	gA64
	gyByEy
	gyEyBy
	byEy

	// The x87 unit.
	f32
	f64
	f80
	i16
	i32
	i64
	fWord
	fAX
	fEnv
	sti
	st0STi
	stiST0

	// MMX registers (p, q) and XMM registers (v, w), with what follows in memory.
	pq
	pqD
	qp
	pqU8
	qU8
	vw
	vwW
	vwD
	vwQ
	wv
	wvD
	wvQ
	vwU8
	vwDU8
	vwQU8
	wU8
	vq
	pw
	pwQ
	py
	yp
	vy
	yv
	gyW
	gyWd
	gyWq
	gyQ
	pEwU8
	vEwU8
	vEbU8
	vEyU8
	gyQU8
	gyWU8
	ebVU8
	ewVU8
	edVU8
	eyVU8

	numShapes
)

var shapes = [numShapes]shape{
	byReg:   {flags: modRM},
	byRM:    {flags: modRM},
	invalid: {flags: modRM},

	opB:    {size: s1},
	opV:    {size: sV},
	opZ:    {size: sZ},
	opY:    {size: sY},
	opS:    {size: sS},
	opA:    {size: sA},
	opF:    {size: sF},
	ib:     {size: sV, imm: immU8},
	ibS:    {size: sS, imm: imm8},
	izS:    {size: sS, imm: immZ},
	iwF:    {size: sF, imm: immU16},
	iwV:    {size: sV, imm: immU16},
	iwIb:   {size: sS, imm: immEnter},
	jb:     {size: sF, imm: imm8},
	jz:     {size: sF, imm: immZ},
	ap:     {size: sV, imm: immFar},
	segS:   {size: sS, flags: opSeg},
	alIb:   {form: FormMI, size: s1, msize: mSame, imm: imm8},
	axIz:   {form: FormMI, size: sV, msize: mSame, imm: immZ},
	alPort: {form: FormMI, size: s1, msize: mSame, imm: immU8},
	axPort: {form: FormMI, size: sZ, msize: mSame, imm: immU8},
	alOb:   {form: FormRM, size: s1, msize: mSame, imm: immMoffs},
	axOv:   {form: FormRM, size: sV, msize: mSame, imm: immMoffs},
	obAL:   {form: FormMR, size: s1, msize: mSame, imm: immMoffs},
	ovAX:   {form: FormMR, size: sV, msize: mSame, imm: immMoffs},
	rv:     {form: FormM, size: sV, msize: mSame, flags: opReg},
	rvS:    {form: FormM, size: sS, msize: mSame, flags: opReg},
	rvAX:   {form: FormMR, size: sV, msize: mSame, flags: opReg, fix: fixNOP},
	rbIb:   {form: FormMI, size: s1, msize: mSame, imm: imm8, flags: opReg | rm8},
	rvIv:   {form: FormMI, size: sV, msize: mSame, imm: immV, flags: opReg},

	eb:     {form: FormM, size: s1, msize: mSame, flags: modRM | rm8},
	ev:     {form: FormM, size: sV, msize: mSame, flags: modRM},
	evS:    {form: FormM, size: sS, msize: mSame, flags: modRM},
	evF:    {form: FormM, size: sF, msize: mSame, flags: modRM},
	ebGb:   {form: FormMR, size: s1, msize: mSame, flags: modRM | rm8 | reg8},
	evGv:   {form: FormMR, size: sV, msize: mSame, flags: modRM},
	gbEb:   {form: FormRM, size: s1, msize: mSame, flags: modRM | rm8 | reg8},
	gvEv:   {form: FormRM, size: sV, msize: mSame, flags: modRM},
	ebIb:   {form: FormMI, size: s1, msize: mSame, imm: imm8, flags: modRM | rm8},
	evIz:   {form: FormMI, size: sV, msize: mSame, imm: immZ, flags: modRM},
	evIb:   {form: FormMI, size: sV, msize: mSame, imm: imm8, flags: modRM},
	ebU8:   {form: FormMI, size: s1, msize: mSame, imm: immU8, flags: modRM | rm8},
	evU8:   {form: FormMI, size: sV, msize: mSame, imm: immU8, flags: modRM},
	eb1:    {form: FormMI, size: s1, msize: mSame, imm: imm1, flags: modRM | rm8},
	ev1:    {form: FormMI, size: sV, msize: mSame, imm: imm1, flags: modRM},
	ebCL:   {form: FormMC, size: s1, msize: mSame, flags: modRM | rm8},
	evCL:   {form: FormMC, size: sV, msize: mSame, flags: modRM},
	evGvU8: {form: FormMRI, size: sV, msize: mSame, imm: immU8, flags: modRM},
	evGvCL: {form: FormMRC, size: sV, msize: mSame, flags: modRM},
	gvEvIz: {form: FormRMI, size: sV, msize: mSame, imm: immZ, flags: modRM},
	gvEvIb: {form: FormRMI, size: sV, msize: mSame, imm: imm8, flags: modRM},
	ewGw:   {form: FormMR, size: s2, msize: mSame, flags: modRM},
	gvEb:   {form: FormRM, size: sV, msize: m1, flags: modRM | rm8},
	gvEw:   {form: FormRM, size: sV, msize: m2, flags: modRM},
	gvEd:   {form: FormRM, size: sV, msize: mD, flags: modRM},
	gvM:    {form: FormRM, size: sV, flags: modRM},
	gvMa:   {form: FormRM, size: sV, msize: mTwice, flags: modRM},
	gvMp:   {form: FormRM, size: sV, msize: mFar, flags: modRM},
	mp:     {form: FormM, size: sV, msize: mFar, flags: modRM},
	mq:     {form: FormM, size: sY, msize: mTwice, fix: fixW, flags: modRM},
	m:      {form: FormM, size: sV, flags: modRM | reg3},
	mY:     {form: FormM, size: sY, flags: modRM},
	mTab:   {form: FormM, size: sF, msize: mTable, flags: modRM},
	md:     {form: FormM, size: s4, msize: m4, flags: modRM},
	ew:     {form: FormM, size: s2, msize: m2, flags: modRM},
	ewV:    {form: FormM, size: sV, msize: m2OrReg, flags: modRM},
	ry:     {form: FormM, size: sY, msize: mSame, flags: modRM},
	rd:     {form: FormM, size: s4, msize: m4, flags: modRM},
	rq:     {form: FormM, size: s8, msize: m8, flags: modRM},
	rA:     {form: FormM, size: sA, msize: mSame, flags: modRM},
	rN:     {form: FormM, size: sN, msize: mSame, flags: modRM},
	evSw:   {form: FormMR, size: sV, msize: m2OrReg, fix: fixFromSeg, flags: modRM | reg3},
	swEv:   {form: FormRM, size: sV, msize: m2, fix: fixToSeg, flags: modRM | reg3},
	rC:     {form: FormMR, size: sN, msize: mSame, fix: fixCR, flags: modRM | anyMod},
	cR:     {form: FormRM, size: sN, msize: mSame, fix: fixCR, flags: modRM | anyMod},
	rD:     {form: FormMR, size: sN, msize: mSame, fix: fixDR, flags: modRM | anyMod},
	dR:     {form: FormRM, size: sN, msize: mSame, fix: fixDR, flags: modRM | anyMod},
	gyEy:   {form: FormRM, size: sY, msize: mSame, flags: modRM},
	eyGy:   {form: FormMR, size: sY, msize: mSame, flags: modRM},
	gyEb:   {form: FormRM, size: sY, msize: m1, flags: modRM | rm8},
	gyEv:   {form: FormRM, size: sY, msize: mV, flags: modRM},
	gyEyU8: {form: FormRMI, size: sY, msize: mSame, imm: immU8, fix: fixVVVV, flags: modRM},
	gN16:   {form: FormRM, size: sN, msize: m16, flags: modRM},
	gA64:   {form: FormRM, size: sA, flags: modRM},
	gyByEy: {form: FormRVM, size: sY, msize: mSame, flags: modRM},
	gyEyBy: {form: FormRMV, size: sY, msize: mSame, flags: modRM},
	byEy:   {form: FormVM, size: sY, msize: mSame, flags: modRM},

	f32:    {form: FormM, size: sZ, msize: m4, flags: modRM},
	f64:    {form: FormM, size: sZ, msize: m8, flags: modRM},
	f80:    {form: FormM, size: sZ, msize: m10, flags: modRM},
	i16:    {form: FormM, size: sZ, msize: m2, flags: modRM},
	i32:    {form: FormM, size: sZ, msize: m4, flags: modRM},
	i64:    {form: FormM, size: sZ, msize: m8, flags: modRM},
	fWord:  {form: FormM, size: s2, msize: m2, flags: modRM},
	fAX:    {form: FormM, size: s2, msize: m2},
	fEnv:   {form: FormM, size: sZ, flags: modRM},
	sti:    {form: FormM, size: sZ, msize: m10, flags: modRM | rm3},
	st0STi: {form: FormRM, size: sZ, msize: m10, flags: modRM | rm3},
	stiST0: {form: FormMR, size: sZ, msize: m10, flags: modRM | rm3},

	pq:    {form: FormRM, size: s8, msize: m8, flags: modRM | reg3 | rm3},
	pqD:   {form: FormRM, size: s8, msize: m4, flags: modRM | reg3 | rm3},
	qp:    {form: FormMR, size: s8, msize: m8, flags: modRM | reg3 | rm3},
	pqU8:  {form: FormRMI, size: s8, msize: m8, imm: immU8, flags: modRM | reg3 | rm3},
	qU8:   {form: FormMI, size: s8, msize: m8, imm: immU8, flags: modRM | rm3},
	vw:    {form: FormRM, size: s16, msize: m16, flags: modRM},
	vwW:   {form: FormRM, size: s16, msize: m2, flags: modRM},
	vwD:   {form: FormRM, size: s16, msize: m4, flags: modRM},
	vwQ:   {form: FormRM, size: s16, msize: m8, flags: modRM},
	wv:    {form: FormMR, size: s16, msize: m16, flags: modRM},
	wvD:   {form: FormMR, size: s16, msize: m4, flags: modRM},
	wvQ:   {form: FormMR, size: s16, msize: m8, flags: modRM},
	vwU8:  {form: FormRMI, size: s16, msize: m16, imm: immU8, flags: modRM},
	vwDU8: {form: FormRMI, size: s16, msize: m4, imm: immU8, flags: modRM},
	vwQU8: {form: FormRMI, size: s16, msize: m8, imm: immU8, flags: modRM},
	wU8:   {form: FormMI, size: s16, msize: m16, imm: immU8, flags: modRM},
	vq:    {form: FormRM, size: s16, msize: m8, flags: modRM | rm3},
	pw:    {form: FormRM, size: s8, msize: m16, flags: modRM | reg3},
	pwQ:   {form: FormRM, size: s8, msize: m8, flags: modRM | reg3},
	py:    {form: FormRM, size: sY, msize: mSame, flags: modRM | reg3},
	yp:    {form: FormMR, size: sY, msize: mSame, flags: modRM | reg3},
	vy:    {form: FormRM, size: sY, msize: mSame, flags: modRM},
	yv:    {form: FormMR, size: sY, msize: mSame, flags: modRM},
	gyW:   {form: FormRM, size: sY, msize: m16, flags: modRM},
	gyWd:  {form: FormRM, size: sY, msize: m4, flags: modRM},
	gyWq:  {form: FormRM, size: sY, msize: m8, flags: modRM},
	gyQ:   {form: FormRM, size: sY, msize: m8, flags: modRM | rm3},
	pEwU8: {form: FormRMI, size: sY, msize: m2, imm: immU8, flags: modRM | reg3},
	vEwU8: {form: FormRMI, size: sY, msize: m2, imm: immU8, flags: modRM},
	vEbU8: {form: FormRMI, size: sY, msize: m1, imm: immU8, flags: modRM},
	vEyU8: {form: FormRMI, size: sY, msize: mSame, imm: immU8, fix: fixW, flags: modRM},
	gyQU8: {form: FormRMI, size: sY, msize: m8, imm: immU8, flags: modRM | rm3},
	gyWU8: {form: FormRMI, size: sY, msize: m16, imm: immU8, flags: modRM},
	ebVU8: {form: FormMRI, size: sY, msize: m1OrReg, imm: immU8, flags: modRM},
	ewVU8: {form: FormMRI, size: sY, msize: m2OrReg, imm: immU8, flags: modRM},
	edVU8: {form: FormMRI, size: sY, msize: m4OrReg, imm: immU8, flags: modRM},
	eyVU8: {form: FormMRI, size: sY, msize: mSame, imm: immU8, fix: fixW, flags: modRM},
}
