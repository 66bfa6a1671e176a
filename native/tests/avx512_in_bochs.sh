#!/usr/bin/env bash
# Runs tests of the native kernels on a processor with AVX-512 that Bochs emulates, for machines that have none: a Linux
# kernel with a root file system in memory that holds the tests and nothing else. It shows that the code is right, and says
# nothing of its speed.
#   avx512_in_bochs.sh NATIVE_TESTS FOLDER [FILTER]
# FOLDER gets results.xml (JUnit) and console.log, which grows as the tests run. Needed, as Debian names them: bochs,
# bochs-term, busybox-static, genisoimage, isolinux, syslinux-common, and apt-get for the kernel, which is not installed.
# Its processor is a Skylake-X: Linux does not start on the later ones of Bochs 2.7, and none there has AVX-512 BF16.
set -euo pipefail

tests=$(realpath "$1") folder=$2 filter=${3:-*/AVX3:Core.*}
kernel_package=linux-image-cloud-amd64

rm -rf "$folder/root" "$folder/disc"
mkdir -p "$folder"/root/{bin,dev,lib64} "$folder/disc"
cd "$folder"
rm -f results.xml console.log

if ! [ -f vmlinuz ]; then
  # It depends on the kernel's present version.
  version=$(apt-cache depends --important "$kernel_package" | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
  apt-get download "$version"
  dpkg-deb --extract "$version"_*.deb kernel
  cp kernel/boot/vmlinuz-* vmlinuz
  rm -rf kernel "$version"_*.deb
fi

# ---- the root file system ----

cp "$(command -v busybox)" root/bin/
strip -o root/bin/native_tests "$tests"
ldd "$tests" | awk '$2 == "=>" { print $3 } $1 ~ /ld-linux/ { print $1 }' |
  xargs -I{} cp -L {} root/lib64/
printf '%s' "$filter" >root/filter
cat >root/init <<'EOF'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
exec >/dev/ttyS0 2>&1
LD_LIBRARY_PATH=/lib64 /bin/native_tests --gtest_filter="$(/bin/busybox cat /filter)" --gtest_output=xml:/results.xml --gtest_color=no
echo "native_tests: status $?"
/bin/busybox cat /results.xml >/dev/ttyS1
# Until the serial lines have sent all.
/bin/busybox sleep 2
/bin/busybox poweroff -f
EOF
chmod +x root/init
(cd root && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >disc/root.gz

# ---- a disc to start from ----

cp vmlinuz /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 disc/
# Bochs 2.7 gives wrong sizes for the compact forms of XSAVE (XSAVEC and XSAVES, bits 321 and 323), and Linux would do without
# AVX altogether.
cat >disc/isolinux.cfg <<'EOF'
default linux
label linux
  kernel /vmlinuz
  initrd /root.gz
  append console=ttyS0 quiet mitigations=off tsc=reliable clearcpuid=321,323
EOF
genisoimage -quiet -o disc.iso -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table disc

# ---- the machine ----

cat >bochsrc <<'EOF'
cpu: model=corei7_skylake_x, ips=50000000
megs: 1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=console.log
com2: enabled=1, mode=file, dev=results.xml
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
display_library: term
log: bochs.log
panic: action=fatal
error: action=ignore
EOF
# Debian's starts in its debugger.
echo continue >start
# Its display wants a terminal.
TERM=xterm nice script -qec "bochs -q -f bochsrc -rc start" /dev/null </dev/null >display.log 2>&1 || true

grep -a '^native_tests: status' console.log || {
  tail -n 20 console.log >&2
  echo "avx512_in_bochs.sh: the tests did not come to their end; see $folder/console.log" >&2
  exit 1
}
sed '/^native_tests: status/q' console.log | tail -n 30
