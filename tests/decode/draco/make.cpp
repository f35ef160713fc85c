// Clouds as draco_point_cloud_transport encodes them: g++ -std=c++17 make.cpp -ldraco (libdraco-dev 1.5.5) && ./a.out
#include <draco/compression/encode.h>
#include <draco/point_cloud/point_cloud_builder.h>
#include <fstream>
#include <iostream>
#include <vector>
#include <cstring>
#pragma pack(push,1)
struct P { float x,y,z; unsigned char rgb[4]; float intensity; unsigned short ring; short tag; };
#pragma pack(pop)
int main(){
  const int n=300; std::vector<P> pts(n); unsigned s=1;
  auto rnd=[&]{ s=s*1664525u+1013904223u; return (s>>8)/16777216.0f; };
  for(auto&p:pts){ p.x=rnd()*20-10;p.y=rnd()*8-4;p.z=rnd()*3;for(int i=0;i<4;i++)p.rgb[i]=(unsigned char)(rnd()*256);p.intensity=(float)(int)(rnd()*255);p.ring=(unsigned short)(rnd()*64);p.tag=(short)(rnd()*2000-1000);}
  std::ofstream("points.bin",std::ios::binary).write((char*)pts.data(),n*sizeof(P));
  for(int mode=0;mode<2;mode++){
    draco::PointCloudBuilder b; b.Start(n);
    using G=draco::GeometryAttribute; char*d=(char*)pts.data();
    struct F{G::Type t;int c;draco::DataType dt;int off;};
    std::vector<F> fs={{G::POSITION,1,draco::DT_FLOAT32,0},{G::POSITION,1,draco::DT_FLOAT32,4},{G::POSITION,1,draco::DT_FLOAT32,8},{G::COLOR,4,draco::DT_UINT8,12},{G::GENERIC,1,draco::DT_FLOAT32,16},{G::GENERIC,1,draco::DT_UINT16,20},{G::GENERIC,1,draco::DT_INT16,22}};
    for(auto&f:fs){int id=b.AddAttribute(f.t,f.c,f.dt); b.SetAttributeValuesForAllPoints(id,d+f.off,sizeof(P));}
    auto pc=b.Finalize(true);
    draco::Encoder e; e.SetSpeedOptions(5,5);
    if(mode==0){ e.SetAttributeQuantization(G::POSITION,14);e.SetAttributeQuantization(G::GENERIC,14);e.SetAttributeQuantization(G::COLOR,14); e.SetEncodingMethod(draco::POINT_CLOUD_KD_TREE_ENCODING);} else e.SetEncodingMethod(draco::POINT_CLOUD_SEQUENTIAL_ENCODING);
    draco::EncoderBuffer buf; auto st=e.EncodePointCloudToBuffer(*pc,&buf);
    std::cout<<mode<<" "<<st.ok()<<" "<<st.error_msg()<<" "<<buf.size()<<" points "<<pc->num_points()<<"\n";
    std::ofstream(mode ? "sequential.drc" : "tree.drc",std::ios::binary).write(buf.data(),buf.size());
  }
}
