# cmake -DIN=FILE -DOUT=HEADER -DNAME=array -P embed.cmake: a file as a C array, with a 0 behind it.
file(READ ${IN} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "static const unsigned char ${NAME}[] = {${bytes}0};\n")
